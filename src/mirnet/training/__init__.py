"""Pairs of dark and bright photographs to a trained network: the six-step pipeline."""
