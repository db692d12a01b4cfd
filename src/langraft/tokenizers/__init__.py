"""Tokenizers: training, fertility, and extension by tokens for new languages; no torch."""
