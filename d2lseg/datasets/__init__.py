"""Datasets from elsewhere: downloads, converters, and the doctor that examines them."""
