"""Pairs and photos for training: reading, checks, split by scene, synthetic low-light images, counter-based RNG."""
