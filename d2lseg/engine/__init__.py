"""The plumbing behind the public modules: what makes a run long, large, fast or safe, and no lesson shows."""
