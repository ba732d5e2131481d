"""Side-by-side measurements of this course and the textbook's recipe: ``python -m benchmarks``."""
