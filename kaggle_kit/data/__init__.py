"""The competition's layout, and the way to training batches: index, subset, shards."""
