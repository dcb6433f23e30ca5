"""Pairs of dark and bright photos to a trained network: six steps, in `pipeline.train`."""
