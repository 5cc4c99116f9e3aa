"""Metrics, each equal to its benchmark's own evaluator."""
