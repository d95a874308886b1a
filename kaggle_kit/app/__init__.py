"""A page in the browser: a photo goes in, its landmark and the reasons come out."""
