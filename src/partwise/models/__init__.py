"""One folder per paper, and the baselines that the papers compare with."""
