"""From a split to batches: samplers, key frames, transforms, the stand-in's cache."""
