"""From photos to guesses: embed, search, rank, verify, within a time budget."""
