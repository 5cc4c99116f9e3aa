"""ATEN: Adaptive Temporal Encoding Network (Zhou et al., ACM MM 2018, arXiv:1808.00661)."""
