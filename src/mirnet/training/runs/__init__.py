"""The folder of a training run: what a run writes, and reading it from outside."""
