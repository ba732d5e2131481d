"""The code behind ``tasks.py``; not part of the installed package."""
