"""Multilingual self-instruct, and conversations for training."""
