"""Writers of rendered people in the layouts of real datasets."""
