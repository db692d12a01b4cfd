"""Benchmarks, one file each; the file's name is what a suite or ``evaluate.tasks`` calls it."""

from langraft.core.registry import Registry
from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark

BENCHMARKS = Registry(__name__, AbstractBenchmark, "benchmark")
