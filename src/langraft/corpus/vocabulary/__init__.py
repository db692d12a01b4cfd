"""Tokens for new languages: learned from text, added to a base's tokenizer, measured."""
