"""From runs to a bundle: embedders, gallery, a ranking tuned on validation images, notices.

Before an upload, a bundle is checked for leaks and against Kaggle's rules.
"""
