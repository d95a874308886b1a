"""Engines that decode photos and run networks: TensorFlow, or Pillow with LiteRT.

Untrusted uploads are validated before they are decoded.
"""
