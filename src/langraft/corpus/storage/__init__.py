"""Token shards on disk, memory-mapped, and the array files they consist of."""
