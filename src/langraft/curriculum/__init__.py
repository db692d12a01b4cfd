"""Shards to batches: whose turn it is, and when the shares change."""
