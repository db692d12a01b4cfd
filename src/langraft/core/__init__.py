"""Nouns that everyone shares; no torch."""
