"""From token shards to batches: which stream each sample comes from, and how shares change."""
