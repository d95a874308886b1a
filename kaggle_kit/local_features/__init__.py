"""Local features of photos: SIFT points, VLAD vectors, and geometric verification."""
