"""What `scripts/bench.py` runs: one module a benchmark."""
