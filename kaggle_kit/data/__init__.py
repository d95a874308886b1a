"""Photos and labels: index, subset, shards, and the pipelines that read them."""
