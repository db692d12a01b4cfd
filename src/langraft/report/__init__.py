"""Scorecards and manifests to one HTML page and a model card."""
