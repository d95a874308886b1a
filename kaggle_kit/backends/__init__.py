"""Engines that decode images and run networks: TensorFlow, or Pillow with LiteRT.

Untrusted uploads are validated before they are decoded.
"""
