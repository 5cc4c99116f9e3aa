"""Pose-guided knowledge transfer for human body part parsing (Fang et al., CVPR 2018)."""
