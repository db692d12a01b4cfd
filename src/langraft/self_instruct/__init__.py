"""Multilingual self-instruct: a teacher writes tasks, filters choose among them."""
