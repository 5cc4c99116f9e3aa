"""Scores of benchmarks, in NumPy alone: what metrics compute over processes and evaluation reads from files."""
