"""Benchmarks: tasks, suites, and lm-evaluation-harness, which scores them."""
