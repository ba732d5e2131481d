"""Interactive pictures for the notebooks; each has a static picture beside it."""
