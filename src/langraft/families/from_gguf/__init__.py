"""Bases in GGUF files: read, checked, and written once as folders of the usual form."""
