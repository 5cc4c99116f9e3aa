"""Checkpoints read safely, and the networks that they describe."""
