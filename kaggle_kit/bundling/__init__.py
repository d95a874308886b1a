"""Build a bundle from runs: embedders, gallery, tuned ranking, licence notices.

Before an upload, a bundle is checked for leaks and against Kaggle's rules.
"""
