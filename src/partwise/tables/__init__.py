"""Tables beside runs: the papers' own, and those of ablation sweeps."""
