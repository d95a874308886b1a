"""The gallery: exact search, whitening, and the ranking of landmarks."""
