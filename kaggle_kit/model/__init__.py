"""The networks: backbone, head, and what is exported of them."""
