"""Figures of merit, each equal to its benchmark's own evaluator."""
