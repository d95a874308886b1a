"""Download of images and tables, from Kaggle or from the public tar files."""
