"""What several benchmarks share: kinds of tasks, metrics, names of languages."""
