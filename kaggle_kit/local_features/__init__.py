"""Local features of images: SIFT points, VLAD vectors, and geometric verification."""
