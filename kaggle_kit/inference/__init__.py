"""From images to guesses: embed, search, verify and rank, within a time budget.

Calibration converts the confidence of a guess into a probability.
"""
