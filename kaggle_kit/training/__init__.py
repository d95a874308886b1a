"""From shards to a run folder, on one device or many."""
