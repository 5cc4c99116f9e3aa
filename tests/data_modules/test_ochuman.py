import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from data_modules.datasets.ochuman import OCHuman
from data_modules.loading.transforms import ClipTransform
from data_modules.ochuman import OCHumanDataModule
from data_modules.synthetic.layouts.ochuman import OCHumanWriter
from partwise.errors import InputError
from partwise.labels import FOREGROUND

LIST = "ochuman_coco_format_{}_range_{}.json"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("ochuman")
    OCHumanWriter(photos={"val": 3, "test": 4}, size=(96, 128), workers=1).write(root)
    return root


@pytest.fixture
def copy(stand_in, tmp_path):
    return Path(shutil.copytree(stand_in, tmp_path / "ochuman"))


def dataset(root, split="val", size=(96, 128), **options):
    return OCHuman(root, split, ClipTransform(size, FOREGROUND), annotations=True, **options)


def test_batches_have_the_documented_shapes(stand_in):
    data = OCHumanDataModule(root=stand_in, image_size=64, batch_size=2, num_workers=0, splits={"train": "val"})
    for stage, count in (("train", 3), ("val", 3), ("test", 4)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (2, 3, 64, 64)
        assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
        assert all(len(k) >= 2 and k.shape[1:] == (17, 3) for k in batch["keypoints"])


def test_there_is_no_training_split_unless_one_is_named(stand_in):
    with pytest.raises(InputError, match="no training split; train on COCOPersons"):
        OCHumanDataModule(root=stand_in).dataset("train")
    OCHumanDataModule(root=stand_in).check("val", "test")


def test_ids_rows_and_masks_belong_together(stand_in):
    api, data = COCO(str(stand_in / LIST.format("val", "0.00_1.00"))), dataset(stand_in)
    for sample in data:
        people = api.loadAnns(api.getAnnIds(data.index.image_ids[sample["index"]]))
        assert len(people) == len(sample["keypoints"]) == len(sample["annotations"]["persons"]["classes"])
        for n, person in enumerate(people, 1):
            mask = sample["instances"].numpy() == n
            assert (mask == (api.annToMask(person) > 0)).all()  # what is rendered is disjoint
            joints = sample["keypoints"][n - 1].numpy()
            assert joints.ravel().tolist() == pytest.approx(person["keypoints"])
            seen = joints[joints[:, 2] == 2, :2].round().astype(int)
            assert mask[seen[:, 1], seen[:, 0]].all()


def test_subsets_leave_the_others_out(stand_in):
    everybody, hard = dataset(stand_in, "test"), dataset(stand_in, "test_range_0.50_0.75")
    assert set(hard.ids) <= set(everybody.ids)
    assert hard.index.image_ids == list(range(1, len(hard) + 1))
    for sample in hard:
        other = everybody[everybody.ids.index(sample["sample_ids"])]
        assert len(sample["keypoints"]) <= len(other["keypoints"])


def test_the_jsons_may_lie_in_a_folder_of_their_own(copy):
    (copy / "annotations").mkdir()
    for file in copy.glob("*.json"):
        file.rename(copy / "annotations" / file.name)
    assert len(dataset(copy)) == 3


def test_a_split_may_list_pictures(stand_in):
    names = dataset(stand_in, "test").ids[1:3]
    assert dataset(stand_in, names).ids == names


def _change(root, edit):
    file = root / LIST.format("val", "0.00_1.00")
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def _counts(change):
    def edit(content):
        segmentation = content["annotations"][0]["segmentation"]
        segmentation["counts"] = change(segmentation["counts"])

    return lambda root: _change(root, edit)


FAULTS = {
    "no images": (
        lambda root: (root / "images").rename(root / "pictures"),
        "does not hold OCHuman: images/ is missing",
    ),
    "no picture": (lambda root: (root / "images/000002.jpg").unlink(), r"images/000002\.jpg is missing"),
    "no json": (
        lambda root: (root / LIST.format("val", "0.00_1.00")).unlink(),
        r"val_range_0\.00_1\.00\.json is missing",
    ),
    "damaged": (lambda root: (root / LIST.format("val", "0.00_1.00")).write_bytes(b"\x80"), "damaged or no json"),
    "other size": (
        lambda root: _change(root, lambda c: c["annotations"][0]["segmentation"].update(size=[90, 128])),
        r"annotation 1: segmentation.size is \[90, 128\], but its image is \[96, 128\]",
    ),
    "cut short": (
        _counts(lambda text: text[:-2]),
        r"annotation 1: segmentation.counts .* are damaged, or not of 12288 pixels",
    ),
    "no text": (_counts(lambda text: "éé"), "annotation 1: segmentation.counts 'éé' are damaged"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_real_samples_are_read_as_they_are(real):
    api = COCO(str(real / "ochuman" / LIST.format("val", "0.00_1.00")))
    data = dataset(real / "ochuman", size=(1000, 1000))
    assert len(data) == 3
    people = 0
    for sample in data:
        annotations = api.loadAnns(api.getAnnIds(data.index.image_ids[sample["index"]]))
        union = np.any([api.annToMask(a) for a in annotations], axis=0)
        assert ((sample["annotations"]["parts"].numpy() == 1) == union).all()
        things = data.index.things(sample["sample_ids"], union.shape)
        for thing, annotation in zip(things, annotations, strict=True):
            assert (thing.mask == (api.annToMask(annotation) > 0)).all()
            assert thing.keypoints.ravel().tolist() == pytest.approx(annotation["keypoints"])
        people += len(sample["keypoints"])
    assert people == 5
