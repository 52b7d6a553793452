"""Benchmarks that anyone can run; each prints JSON with ratios to a floor of the same run."""
