"""From runs to a bundle: embedders, gallery, a ranking tuned on validation images, notices.

Before it goes up it is checked: no leaks, and nothing that Kaggle would refuse.
"""
