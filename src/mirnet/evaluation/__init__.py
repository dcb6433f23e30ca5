"""What scores need beyond the base install, the extra `evaluate`: the colour difference, and plots."""
