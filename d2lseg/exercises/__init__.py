"""Checks of the exercises, one file for each notebook: ``from d2lseg.exercises import nb01 as check``."""
