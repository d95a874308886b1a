"""The competition's layout, and from its photos to training batches: index, subset, shards."""
