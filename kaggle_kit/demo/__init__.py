"""Draw a small competition: buildings, scenery, and photos of them."""
