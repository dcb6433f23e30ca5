"""One image through an exported network; nothing here needs torch."""
