"""Copies for students, collecting and grading them: ``tasks.py classroom``; see ``teach/grading.md``."""
