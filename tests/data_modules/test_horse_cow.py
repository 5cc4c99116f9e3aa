import json
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.datasets.horse_cow import KEYPOINTS, HorseCow, HorseCowLegs, keypoint_pairs
from data_modules.horse_cow import HorseCowDataModule
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.horse_cow import HorseCowWriter
from partwise.errors import InputError
from partwise.labels import HORSE_COW, LEGS_TO_HORSE_COW
from partwise.labels import HORSE_COW_LEGS as LABELS
from partwise.ops.flip import hflip

SIZE = (96, 128)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("horse_cow")
    HorseCowWriter(photos={"train": 4, "val": 6, "poses": 2}, size=SIZE, workers=1).write(root)
    return root


def dataset(root, split="val", size=SIZE, **options):
    return HorseCowLegs(root, split, ClipTransform(size, LABELS, keypoint_pairs=keypoint_pairs(KEYPOINTS)), **options)


def test_the_mask_and_keypoint_pool_has_parts_ids_and_keypoints(stand_in):
    data = HorseCowDataModule(root=stand_in, image_size=64, batch_size=2, num_workers=0)
    for stage, count in (("train", 4), ("val", 6), ("test", 6)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (2, 3, 64, 64)
        assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
        assert all(k.shape[1:] == (17, 3) for k in batch["keypoints"])
    assert batch["annotations"][0]["parts"].shape == SIZE


def test_the_keypoint_only_pool_needs_no_masks(stand_in):
    data = HorseCowDataModule(root=stand_in, masks=False, splits={"train": "poses"}, batch_size=2, num_workers=0)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {"images", "keypoints", "index", "sample_ids"}
    assert set(next(iter(data.val_dataloader()))) == set(batch)


def test_parts_ids_and_keypoints_belong_together(stand_in):
    classes = {"paw": "leg", "eye": "head"}
    seen = 0
    for sample in dataset(stand_in, masks=True):
        assert ((sample["parts"] > 0) == (sample["instances"] > 0)).all()
        for n, joints in enumerate(sample["keypoints"], 1):
            for name, (x, y, visibility) in zip(KEYPOINTS, joints.tolist(), strict=True):
                if visibility == 2:
                    at = round(y), round(x)
                    assert sample["instances"][at] == n
                    part = LABELS.names[sample["parts"][at]]
                    assert classes.get(name.rpartition("_")[2], part) in part
                    seen += 1
    assert seen > 40


def test_five_classes_are_the_parts_with_legs_merged(stand_in):
    apart, merged = dataset(stand_in, masks=True), HorseCow(stand_in, "val", ClipTransform(SIZE, HORSE_COW), masks=True)
    pairs = [(apart[n]["parts"], merged[n]["parts"]) for n in range(6)]
    assert all(torch.equal(five, torch.from_numpy(LEGS_TO_HORSE_COW)[legs].long()) for legs, five in pairs)
    seen = torch.cat([five.flatten() for _, five in pairs]).unique()
    assert {HORSE_COW.names[c] for c in seen.tolist() if c != 255} == set(HORSE_COW.names)


def test_an_unknown_form_is_named():
    with pytest.raises(InputError, match=r"data\.form=six is not known; it is one of five, legs"):
        HorseCowDataModule(form="six")


def test_left_paws_lie_on_left_legs(stand_in):
    for sample in dataset(stand_in, masks=True):
        for joints in sample["keypoints"]:
            for end, part in (("front", "front"), ("back", "hind")):
                for side in ("left", "right"):
                    x, y, visibility = joints[KEYPOINTS.index(f"{side}_{end}_paw")].tolist()
                    if visibility == 2:
                        assert sample["parts"][round(y), round(x)] == LABELS.id_of(f"{side}-{part}-leg")


def test_flipping_twice_is_the_identity_and_once_swaps(stand_in):
    pairs = keypoint_pairs(KEYPOINTS)
    plain = dataset(stand_in, masks=True)[0]
    sample = {k: plain[k] for k in ("images", "parts", "instances", "keypoints")}
    once = hflip(sample, LABELS, pairs)
    left, right = LABELS.id_of("left-front-leg"), LABELS.id_of("right-front-leg")
    assert torch.equal(once["parts"] == right, (sample["parts"] == left).flip(-1))
    assert (
        once["keypoints"][0, KEYPOINTS.index("right_elbow"), 1]
        == sample["keypoints"][0, KEYPOINTS.index("left_elbow"), 1]
    )
    twice = hflip(once, LABELS, pairs)
    assert all(torch.allclose(twice[k], sample[k]) for k in sample)
    data = HorseCowDataModule(
        form="legs", root=stand_in, image_size=SIZE, flip=1.0, splits={"train": "val"}, num_workers=0
    )
    flipped = data.dataset("train")[0]
    assert all(torch.equal(flipped[k], once[k]) for k in once)


def test_pairs_follow_from_names():
    assert keypoint_pairs(("L_Eye", "R_Eye", "Nose", "R_F_Paw", "L_F_Paw")) == [(0, 1), (4, 3)]
    assert keypoint_pairs(("Nearknee", "Offknee")) == []
    assert len(keypoint_pairs(KEYPOINTS)) == 7


def test_one_kind_of_animal_can_be_chosen(stand_in):
    both = [len(s["keypoints"]) for s in dataset(stand_in)]
    found = {kind: [len(s["keypoints"]) for s in dataset(stand_in, categories=[kind])] for kind in ("horse", "cow")}
    assert sum(found["horse"]) + sum(found["cow"]) == sum(both)


def _json(root, edit):
    file = root / "annotations/val.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def _paint(root, value, size):
    Image.fromarray(np.full(size, value, np.uint8)).save(root / "parts/000005.png")


FAULTS = {
    "no parts": (lambda root: shutil.rmtree(root / "parts"), r"parts/ is missing.*data\.masks=false"),
    "no map": (lambda root: (root / "parts/000005.png").unlink(), r"000005\.png does not exist"),
    "other size": (lambda root: _paint(root, 0, (5, 6)), "6x5 but its image is 128x96"),
    "other label": (lambda root: _paint(root, 9, SIZE), r"label 9 in .*000005\.png"),
    "no json": (lambda root: (root / "annotations/val.json").unlink(), r"val\.json is missing; .* poses, train"),
    "no picture": (lambda root: (root / "images/000006.jpg").unlink(), r"000006\.jpg is missing"),
    "no kind": (lambda root: _json(root, lambda c: [k.update(name="cat") for k in c["categories"]]), "horse or cow"),
    "two skeletons": (
        lambda root: _json(root, lambda c: c["categories"][0].update(keypoints=[*"abcdefghijklmnopq"])),
        r"val\.json: its categories have different keypoints",
    ),
    "empty": (
        lambda root: _json(root, lambda c: c["annotations"].clear()),
        r"val\.json lists no picture with an annotated object",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy, masks=True, categories=["horse", "cow"])[0])


def test_a_wrong_root_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="does not hold animals: images/ is missing"):
        HorseCowDataModule(root=tmp_path).check()


@pytest.mark.parametrize(
    ("name", "keypoints", "animals"), [("horse10", 22, 3), ("animalpose", 20, 2), ("ap10k", 17, 2)]
)
def test_real_animals_are_a_keypoint_only_pool(name, keypoints, animals, real):
    root, split = real / "animal" / name, f"test_{name}"
    data = HorseCowDataModule(root=root, masks=False, splits={"train": split, "val": split}, num_workers=0)
    dataset: Any = data.dataset("val")
    samples = list(dataset)
    assert [s["keypoints"].shape for s in samples] == [(1, keypoints, 3)] * animals
    content = json.loads((root / "annotations" / f"{split}.json").read_text())
    index = dataset.index
    for image in content["images"]:
        (thing,) = index.things(image["file_name"], (image["height"], image["width"]))
        (annotation,) = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        assert thing.keypoints.ravel().tolist() == pytest.approx(annotation["keypoints"], abs=1e-4)
        assert thing.mask is None
    pairs = dataset.transform.keypoint_pairs
    assert len(pairs) == {"horse10": 0, "animalpose": 8, "ap10k": 7}[name]
