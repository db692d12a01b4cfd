"""Packaged recipes, and the run that carries one out from text to an exported model."""
