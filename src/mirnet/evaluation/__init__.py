"""Scores of enhanced images against ground truth: comparison, intervals, scenes, contact sheets, plots."""
