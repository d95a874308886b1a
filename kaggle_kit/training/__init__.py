"""From shards to a run folder."""
