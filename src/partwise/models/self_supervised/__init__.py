"""Self-supervised framework for human instance segmentation: masks, flow and poses refined by each other in video."""
