"""The kit for Google Landmark Recognition 2021: photos in, a scored submission out."""

__version__ = "0.2.0"
