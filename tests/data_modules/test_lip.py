import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.datasets.lip import LIP
from data_modules.lip import LIPDataModule
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.stills import LIPWriter
from partwise.errors import InputError
from partwise.io.images import write_labels
from partwise.labels import LIP as LABELS
from partwise.ops.flip import hflip

SIZE = (96, 64)
IMAGES, PARTS = "TrainVal_images", "TrainVal_parsing_annotations"
FIRST = "4_1000004"  # of val


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("lip")
    LIPWriter(images={"train": 3, "val": 2}, size=SIZE, workers=1).write(root)
    return root


def dataset(root, split="val"):
    return LIP(root, split, ClipTransform(SIZE, LABELS), annotations=True)


def module(root, **options):
    return LIPDataModule(root=root, image_size=(48, 32), batch_size=2, num_workers=0, **options)


def test_batches_of_all_stages_have_the_documented_shapes(stand_in):
    data = module(stand_in)
    for stage, count in (("train", 3), ("val", 2), ("test", 2)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (2, 3, 48, 32)
        assert batch["parts"].shape == (2, 48, 32)
        assert "instances" not in batch
        assert ("annotations" in batch) == (stage != "train")
    assert batch["annotations"][0]["parts"].shape == SIZE
    assert batch["annotations"][0].keys() == {"parts"}


def test_labels_are_the_files_own(stand_in):
    for sample in dataset(stand_in):
        file = stand_in / PARTS / "val_segmentations" / f"{sample['sample_ids']}.png"
        assert (sample["annotations"]["parts"].numpy() == np.asarray(Image.open(file))).all()


@pytest.mark.parametrize("depth", [1, 2])
def test_archives_may_have_unpacked_into_their_own_names(copy, depth):
    before = dataset(copy)[0]["parts"]
    for name in (IMAGES, PARTS):
        for _ in range(depth):
            (copy / name).rename(copy / "inner")
            (copy / name).mkdir()
            (copy / "inner").rename(copy / name / name)
    assert torch.equal(dataset(copy)[0]["parts"], before)
    assert dataset(copy.parent).ids == [FIRST, "5_1000005"]  # also from the folder above


def test_the_folder_above_must_hold_one_copy(copy):
    shutil.copytree(copy, copy.parent / "other")
    with pytest.raises(InputError, match=r"holds TrainVal_images/ more than once, in copy, other; point data\.root"):
        dataset(copy.parent)


def test_copies_that_macos_adds_do_not_count(copy):
    ids = dataset(copy).ids
    (copy.parent / "__MACOSX" / IMAGES).mkdir(parents=True)
    (copy.parent / "__MACOSX" / PARTS).mkdir()
    (copy / IMAGES / "._train_id.txt").write_bytes(b"\0\5\x16\7")
    assert dataset(copy.parent).ids == ids


def test_splits_may_name_ids_of_either_folder(stand_in):
    mixed = [FIRST, "1_1000001"]
    data = module(stand_in, splits={"train": mixed})
    assert data.dataset("train").ids == mixed
    assert len(data.dataset("train")[1]["parts"]) == 48
    with pytest.raises(InputError, match=r"'9_9', but 9_9\.jpg is not in .*train_images, .*val_images"):
        dataset(stand_in, ["9_9"])
    with pytest.raises(InputError, match="lists 41000004, a number"):
        dataset(stand_in, [4_1000004])


def test_only_splits_that_are_there_are_offered(copy):
    shutil.rmtree(copy / PARTS / "val_segmentations")
    with pytest.raises(InputError, match=r"LIP in .* has the splits train, not 'val'"):
        module(copy).check("val")


def test_a_flip_exchanges_sides(stand_in):
    sample = {k: v for k, v in dataset(stand_in)[0].items() if isinstance(v, torch.Tensor)}
    once = hflip(sample, LABELS)
    assert all(torch.equal(hflip(once, LABELS)[name], sample[name]) for name in sample)
    for thing in ("arm", "leg", "shoe"):
        left, right = LABELS.id_of(f"left-{thing}"), LABELS.id_of(f"right-{thing}")
        assert torch.equal(once["parts"] == left, (sample["parts"] == right).flip(-1))


LABEL_FILE = f"{PARTS}/val_segmentations/{FIRST}.png"

FAULTS = {
    "no picture": (lambda root: (root / IMAGES / "val_images" / f"{FIRST}.jpg").unlink(), rf"{FIRST}\.jpg does not"),
    "no labels": (lambda root: (root / LABEL_FILE).unlink(), rf"{FIRST}\.png does not exist"),
    "damaged": (lambda root: (root / LABEL_FILE).write_bytes(b"\x89PNG\r\n\x1a\n"), rf"{FIRST}\.png is damaged"),
    "other size": (
        lambda root: write_labels(root / LABEL_FILE, np.zeros((4, 5), np.uint8), LABELS.colors),
        rf"{FIRST}\.png is 5x4 but its image is 64x96",
    ),
    "a 21st class": (
        lambda root: write_labels(root / LABEL_FILE, np.full(SIZE, 20, np.uint8), LABELS.colors),
        rf"label 20 in .*{FIRST}\.png",
    ),
    "empty list": (lambda root: (root / IMAGES / "val_id.txt").write_text(""), r"val_id\.txt lists nothing"),
    "no list": (lambda root: (root / IMAGES / "val_id.txt").unlink(), r"val_id\.txt is missing"),
    "no labels at all": (lambda root: shutil.rmtree(root / PARTS), rf"does not hold LIP: {PARTS}/ is missing"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not hold LIP.*point data\.root"):
        module(tmp_path).check()


def test_real_pictures_are_read_unchanged(real):
    for split, name, size in (("train", "684_2150041", (220, 154)), ("val", "86_185913", (377, 130))):
        (sample,) = dataset(real / "lip", split)
        assert sample["sample_ids"] == name
        assert sample["annotations"]["parts"].shape == size
        seen = {LABELS.names[i] for i in sample["annotations"]["parts"].unique()}
        assert {"background", "upper-clothes", "face", "right-arm"} <= seen
    LIPDataModule(root=real / "lip", num_workers=0).check()
