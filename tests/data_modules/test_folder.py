import re
import shutil
from pathlib import Path

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
from partwise.io.images import read_image
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


def test_frames_without_folders_are_split_one_by_one():
    names = [f"{n}" for n in range(7)]
    assert split_names(names, "val", Path("own")) == ["4"]
    assert split_names(names, "train", Path("own")) == ["0", "1", "2", "3", "5", "6"]


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


def small(root, names="abcdef", orientation=1):
    """Frames of 40x24 as viewers show them, each with a label map of that size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    (root / "frames").mkdir()
    (root / "labels").mkdir()
    rng = np.random.default_rng(0)
    for name in names:
        picture = Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8))
        back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}.get(orientation)
        (picture if back is None else picture.transpose(back)).save(
            root / "frames" / f"{name}.jpg", exif=exif, quality=100, subsampling=0
        )
        Image.fromarray(np.arange(24 * 40, dtype=np.uint8).reshape(24, 40) % 7).save(root / "labels" / f"{name}.png")
    return root


@pytest.mark.parametrize("orientation", [3, 6])
def test_frames_are_upright_as_in_prediction(tmp_path, orientation):
    data = dataset(small(tmp_path, orientation=orientation))
    np.testing.assert_array_equal(data.picture(0), read_image(tmp_path / "frames/a.jpg"))
    expected = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    assert np.abs(data.picture(0).astype(int) - expected).mean() < 3
    assert data[0]["annotations"]["parts"].shape == (24, 40)
    assert next(data.remarks()).startswith("6 of 6 frames (such as")


def test_labels_of_the_frame_as_stored_are_refused_by_the_name_of_exif(tmp_path):
    small(tmp_path, orientation=6)
    Image.fromarray(np.zeros((40, 24), np.uint8)).save(tmp_path / "labels/a.png")
    with pytest.raises(InputError, match=r"a\.png fits .*a\.jpg as stored, but EXIF turns that upright, to 40x24"):
        dataset(tmp_path)[0]


@pytest.mark.parametrize("copy_of", [".ipynb_checkpoints/a", "._{}", "__MACOSX/a", "__MACOSX/._a"])
def test_hidden_copies_are_no_frames(tmp_path, copy_of, capsys):
    small(tmp_path)
    for folder, suffix in (("frames", "jpg"), ("labels", "png")):
        hidden = tmp_path / folder / f"{copy_of.format('a')}.{suffix}"
        hidden.parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / folder / f"a.{suffix}", hidden)
    assert (dataset(tmp_path, "train").ids, dataset(tmp_path, "val").ids) == (list("abcdf"), ["e"])
    assert capsys.readouterr().err.count("1 left out: 1 hidden") == 2  # once for each folder


def test_linked_videos_are_entered_and_suffixes_of_any_case_read(stand_in, tmp_path):
    for folder in ("frames", "labels"):
        (tmp_path / folder).mkdir()
        for video in ("video1", "video2"):
            (tmp_path / folder / video).symlink_to(stand_in / folder / video)
        (tmp_path / folder / "video1_loop").symlink_to(tmp_path / folder)
    assert len(dataset(tmp_path)) == 4
    (tmp_path / "own").mkdir()
    small(tmp_path / "own")
    (tmp_path / "own/labels/a.png").rename(tmp_path / "own/labels/a.PNG")
    (tmp_path / "own/frames/a.jpg").rename(tmp_path / "own/frames/a.JPG")
    assert dataset(tmp_path / "own").ids[0] == "a"
    assert dataset(tmp_path / "own")[0]["annotations"]["parts"].shape == (24, 40)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ([0, 1, 2], r"has the name 0, as YAML reads it; write it in quotes"),
        (["background", True, False], "has the name True"),
        (["background", None], "has the name None"),
        (["background", 1.5], "has the name 1.5"),
        (["background", "coat", "coat"], "names 'coat' twice"),
    ],
)
def test_names_that_are_no_names_are_refused(classes, says):
    with pytest.raises(InputError, match=says):
        LabelledFolderDataModule(classes=classes)


@pytest.mark.parametrize("pairs", [[["left"]], [["background", "left"]], [["left", "left"]], [["left", 1]]])
def test_pairs_that_are_none_are_one_line(pairs):
    with pytest.raises(InputError, match=r"data\..*pairs"):
        LabelledFolderDataModule(classes=["background", "left", "right"], pairs=pairs)


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
