"""Download of photos and tables, from Kaggle or from the public tar files."""
