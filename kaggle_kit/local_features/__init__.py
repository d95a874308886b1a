"""Local features of photos: SIFT, VLAD, and the geometry of what matches."""
