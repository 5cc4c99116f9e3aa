import re
import shutil

import numpy as np
import pytest
from composing import ROOT, composed
from hydra.utils import instantiate
from PIL import Image

from data_modules.datasets.folder import LabelledFolder, split_names
from data_modules.folder import LabelledFolderDataModule
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.folder import FolderWriter
from partwise.errors import InputError
from partwise.labels import PASCAL_PERSON_PART


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    FolderWriter(videos=6, frames_per_video=6, size=(48, 64), workers=1).write(root)
    return root


def dataset(root, split="all"):
    transform = ClipTransform(64, PASCAL_PERSON_PART)
    return LabelledFolder(root, split, transform, label_set=PASCAL_PERSON_PART, annotations=True)


def test_only_labelled_frames_count(stand_in):
    assert len(list((stand_in / "frames").rglob("*.jpg"))) == 36
    data = dataset(stand_in)
    assert len(data) == 12
    assert data[0]["images"].shape == (3, 64, 64)
    assert data[0]["annotations"]["parts"].shape == (48, 64)


def test_whole_videos_validate(stand_in):
    assert dataset(stand_in, "val").ids == ["video5/0000", "video5/0005"]
    assert {name.split("/")[0] for name in dataset(stand_in, "train").ids} == {f"video{n}" for n in (1, 2, 3, 4, 6)}


def test_frames_without_folders_are_split_one_by_one(tmp_path):
    (tmp_path / "labels").mkdir()
    for n in range(7):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "labels" / f"{n}.png")
    assert split_names(tmp_path, "val") == ["4"]
    assert split_names(tmp_path, "train") == ["0", "1", "2", "3", "5", "6"]


def test_batches(stand_in):
    data = LabelledFolderDataModule(root=stand_in, image_size=(32, 48), batch_size=2, num_workers=0)
    assert next(iter(data.train_dataloader()))["parts"].shape == (2, 32, 48)
    assert len(next(iter(data.val_dataloader()))["annotations"]) == 2
    assert len(data.dataset("test")) == len(data.dataset("val"))


FAULTS = {
    "no frame": (lambda root: (root / "frames/video1/0000.jpg").unlink(), "video1/0000 is not in"),
    "other class": (
        lambda root: Image.fromarray(np.full((48, 64), 9, np.uint8)).save(root / "labels/video1/0000.png"),
        "label 9 in .*video1/0000",
    ),
    "other size": (
        lambda root: Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / "labels/video1/0000.png"),
        "4x4",
    ),
    "no labels": (lambda root: [file.unlink() for file in (root / "labels").rglob("*.png")], "holds no PNG"),
    "no folder": (lambda root: shutil.rmtree(root / "labels"), r"frames/ and labels/"),
    "two of a name": (
        lambda root: Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / "frames/video1/0000.png"),
        "have one name",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_pairs_must_be_classes():
    with pytest.raises(InputError, match="'tail'"):
        LabelledFolderDataModule(classes=["background", "horse"], pairs=[["horse", "tail"]])


def test_the_tutorials_yaml_trains_what_it_says(tmp_path):
    """The YAML block of docs/own_data.md, put where the text says."""
    text = (ROOT / "docs" / "own_data.md").read_text()
    block = re.search(r"```yaml\n(.*?)```", text, re.S)
    assert block
    file = tmp_path / "configs" / "experiment" / "my_videos.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(block[1])
    cfg = composed("experiment=my_videos", f"hydra.searchpath=[file://{tmp_path / 'configs'}]")
    data = instantiate(cfg.data)
    assert cfg.name == "my_videos"
    assert cfg.num_classes == data.label_set.num_classes == 5
    assert data.label_set.pairs == ((3, 4),)
