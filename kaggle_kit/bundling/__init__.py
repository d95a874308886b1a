"""From runs to a bundle: embedders, gallery, a ranking tuned on validation photos, notices.

Before it goes up it is checked: no leaks, and nothing that Kaggle would refuse.
"""
