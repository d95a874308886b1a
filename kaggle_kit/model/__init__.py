"""The networks: backbones, heads, losses, weights, and what is exported of them."""
