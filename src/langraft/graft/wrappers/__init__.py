"""Trainable additions to frozen matrices: adapters, rare token rows, rows of new tokens."""
