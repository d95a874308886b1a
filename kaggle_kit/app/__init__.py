"""The app: a web page that recognises the landmark in a photo and explains the answer."""
