"""langraft grafts new languages onto a pretrained language model and keeps the old ones."""

__version__ = "0.1.0"
