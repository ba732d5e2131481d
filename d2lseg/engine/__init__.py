"""What a long or large training run needs and no lesson shows."""
