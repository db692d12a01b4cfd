"""Benchmark suites, one file each; the file's name is what a recipe calls the suite."""

from langraft.core.registry import Registry
from langraft.evaluate.benchmarks.suite import AbstractSuite

SUITES = Registry(__name__, AbstractSuite, "suite")
