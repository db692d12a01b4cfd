"""Text to token shards tagged by language; no torch."""
