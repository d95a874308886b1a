"""What decodes photos and runs networks: TensorFlow, or Pillow with LiteRT."""
