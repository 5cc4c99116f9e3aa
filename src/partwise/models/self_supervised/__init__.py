"""Self-supervised instance segmentation of people in video: TPR, GBSR and their loop."""
