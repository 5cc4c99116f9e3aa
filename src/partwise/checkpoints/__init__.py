"""Safe reading of checkpoints, and the networks that they describe."""
