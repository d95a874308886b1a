"""From shards to a run directory, on one device or many."""
