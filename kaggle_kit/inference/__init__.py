"""From photos to guesses: embed, search, rank, verify, within a time budget.

Calibration tells how probable it is that a guess is right.
"""
