"""Local features of photos: SIFT points, VLAD vectors, and the geometry of what matches."""
