"""Compute benchmarks' scores in NumPy alone: for metrics, over processes, and for evaluation, from files."""
