"""From a checkpoint and pictures or video to files of parsings."""
