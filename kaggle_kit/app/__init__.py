"""A page in the browser: a photo goes in, its landmark comes out."""
