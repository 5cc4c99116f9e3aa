"""People who occlude each other, rendered."""

import pytest
from small_baselines import batch_of

from data_modules.ochuman import OCHumanDataModule
from data_modules.synthetic.layouts.ochuman import OCHumanWriter


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """A DataModule of four pictures for all stages, on a canvas of 96 x 96 pixels, without flips."""
    root = tmp_path_factory.mktemp("ochuman")
    OCHumanWriter(photos={"val": 4, "test": 0}, size=(96, 128), severity=0.2, workers=1).write(root)
    splits = {"train": "val", "test": "val"}
    return OCHumanDataModule(root=root, image_size=96, batch_size=4, num_workers=0, splits=splits, flip=0)


@pytest.fixture
def training_batch(people):
    return batch_of(people, "train")


@pytest.fixture
def annotated_batch(people):
    return batch_of(people, "val")
