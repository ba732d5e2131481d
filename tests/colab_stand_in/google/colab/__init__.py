"""Stands for Colab's own module, as far as the course uses it; ``tools/colab.py`` puts it in place."""
