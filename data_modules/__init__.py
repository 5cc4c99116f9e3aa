"""From datasets in their native layouts to batches."""
