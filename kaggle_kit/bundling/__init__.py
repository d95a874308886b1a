"""Build a bundle from runs: embedders, gallery, tuned ranking, licence notices.

A bundle is checked before it is uploaded: for credentials and private paths, and for
whatever Kaggle would refuse.
"""
