"""The app: a web page that recognises the landmark in an image and explains the answer."""
