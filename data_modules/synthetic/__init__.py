"""Rendered people with exact ground truth, written in the layouts of real datasets."""
