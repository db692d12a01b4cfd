"""Gain and forgetting: bits per byte, probes, routing statistics, scorecards."""
