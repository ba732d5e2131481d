"""Side-by-side measurements of the course's module and the textbook's recipe: ``python -m benchmarks``."""
