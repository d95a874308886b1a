"""A small competition, drawn: buildings, scenery, and photos of them."""
