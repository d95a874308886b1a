"""Photos and tables from Kaggle, or from the public tar files, whole or not at all."""
