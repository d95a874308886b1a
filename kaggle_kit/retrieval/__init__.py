"""The gallery: whitening, exact search, and the ranking of landmarks."""
