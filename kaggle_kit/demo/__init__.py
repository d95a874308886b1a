"""Draw a small competition: buildings, scenery, and images of them."""
