"""The networks: backbones, heads, losses, pretrained weights, and export.

Networks and weights from untrusted sources are checked before they are loaded.
"""
