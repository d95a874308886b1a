"""Engines that decode images and run networks: TensorFlow, or Pillow with LiteRT.

``tensorflow`` is the engine of kernels and decodes files by ``data.decode``. ``pillow`` is
the engine of the app and decodes files by ``uploads``, which validates them first. Both
read the formats of ``data.image_files`` and give the same pixels.
``images`` is for arrays and PIL images, which are decoded already.
"""
