"""Conversations: formats, templates with a mask of answers, packing."""
