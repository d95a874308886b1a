"""The networks: backbones, heads, losses, weights, and what is exported of them.

Networks and weights of strangers are looked at before they are loaded.
"""
