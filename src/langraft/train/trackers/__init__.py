"""Trackers, one file each; the file's name is what a recipe names in ``training.track``."""

from langraft.core.registry import Registry
from langraft.train.tracking.tracker import AbstractTracker

TRACKERS = Registry(__name__, AbstractTracker, "tracker")
