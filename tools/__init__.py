"""What stands behind ``tasks.py``; not part of the installed package."""
