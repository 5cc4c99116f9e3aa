"""TCNet: Fine-grained Human-centric Tracklet Segmentation with Single Frame Supervision (Liu et al., TPAMI)."""
