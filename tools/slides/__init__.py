"""Slides: a reveal.js deck for each notebook, from the outputs that are stored in it."""
