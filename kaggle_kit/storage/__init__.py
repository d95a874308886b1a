"""Read and write files: CSV tables, JSON, arrays, manifests; atomic writes and locks."""
