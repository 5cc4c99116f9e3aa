"""One folder a paper, and the baselines they compare with."""
