"""Exported weights to bright photographs; nothing here needs torch."""
