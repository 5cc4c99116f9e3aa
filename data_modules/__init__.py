"""From datasets in their native layouts to batches."""

import os

# Before anything imports albumentations, whose start-up check calls home.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
