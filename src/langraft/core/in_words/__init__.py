"""Counts, times and machines as people read them."""
