"""Pairs of dark and bright photographs to a trained network: six steps, in `pipeline.train`."""
