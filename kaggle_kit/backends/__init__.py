"""What decodes photos and runs networks: TensorFlow, or Pillow with LiteRT.

Uploads of strangers are checked before they are decoded.
"""
