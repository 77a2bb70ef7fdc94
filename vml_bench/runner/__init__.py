"""The shared runner: one cell of the benchmark, from configuration to rows on disk."""
