"""Families with an exact standard MoE twin, one file each, named by their model_type."""
