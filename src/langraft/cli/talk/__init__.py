"""Talking to a model: on the command line, and what the page of ``langraft ui`` needs."""
