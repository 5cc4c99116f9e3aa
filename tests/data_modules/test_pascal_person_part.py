import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.datasets.pascal_person_part import PascalPersonPart, PascalPersonPartLR
from data_modules.formats.pascal_part import read_people
from data_modules.loading.transforms import ClipTransform
from data_modules.pascal_person_part import PascalPersonPartDataModule
from data_modules.synthetic.layouts.pascal_person_part import PascalPersonPartWriter, write_objects, write_poses
from partwise.errors import InputError
from partwise.io.images import write_image, write_labels
from partwise.labels import IGNORE, PASCAL_PERSON_PART, PASCAL_PERSON_PART_LR
from partwise.ops.flip import MPII_KEYPOINT_PAIRS, hflip

SIZE = (96, 112)
MAPS = "pascal_person_part/pascal_person_part_gt"
LISTS = "pascal_person_part/pascal_person_part_trainval_list"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("voc")
    PascalPersonPartWriter(images={"train": 6, "val": 4}, size=SIZE, workers=1).write(root)
    return root


def dataset(root, split="val", reader=PascalPersonPart, **options):
    return reader(root, split, ClipTransform(SIZE, reader.label_set), annotations=True, **options)


def module(root, **options):
    return PascalPersonPartDataModule(root=root, image_size=64, batch_size=2, num_workers=0, **options)


def png(root, name):
    return np.asarray(Image.open(root / MAPS / f"{name}.png"))


def store_png(root, name, labels):
    write_labels(root / MAPS / f"{name}.png", labels, PASCAL_PERSON_PART.colors)


def thing(label, mask, *parts):
    return {"class": label, "class_ind": 15, "mask": mask, "parts": [{"part_name": n, "mask": m} for n, m in parts]}


@pytest.mark.parametrize(("form", "classes"), [("seven", 7), ("left_right", 11)])
def test_batches_of_all_stages_have_the_documented_shapes(stand_in, form, classes):
    data = module(stand_in, form=form)
    assert data.label_set.num_classes == classes
    for stage in ("train", "val", "test"):
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (2, 3, 64, 64)
        assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
        assert all(points.shape[1:] == (16, 3) for points in batch["keypoints"])
        assert set(batch["parts"].unique().tolist()) <= {*range(classes), IGNORE}
        assert ("annotations" in batch) == (stage != "train")
    assert batch["annotations"][0]["parts"].shape == SIZE
    assert data.dataset("test").ids == data.dataset("val").ids


def test_both_annotations_of_the_stand_in_agree(stand_in):
    seven, sided = dataset(stand_in), dataset(stand_in, reader=PascalPersonPartLR)
    to_seven = np.array([0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    for a, b in zip(seven, sided, strict=True):
        assert (a["annotations"]["parts"].numpy() == png(stand_in, a["sample_ids"])).all()
        assert (to_seven[b["annotations"]["parts"]] == a["annotations"]["parts"].numpy()).all()


def test_persons_parts_instances_and_joints_belong_together(stand_in):
    on_own = seen = 0
    for sample in dataset(stand_in, "train"):
        truth, found = sample["annotations"], sample["annotations"]["part_instances"]
        persons, parts = truth["persons"]["map"], truth["parts"]
        assert len(truth["persons"]["classes"]) == persons.max()
        assert ((found["map"] > 0) == (parts > 0)).all()
        pairs = set()
        for n, part in enumerate(found["classes"].tolist(), 1):
            inside = found["map"] == n
            owner = set(persons[inside].tolist())
            assert set(parts[inside].tolist()) == {part}
            assert len(owner) == 1
            pairs.add((*owner, part))
        assert len(pairs) == len(found["classes"])
        for n, pose in enumerate(sample["keypoints"], 1):
            known = pose[pose[:, 2] > 0].round().long()
            on_own += (persons[known[:, 1].clamp(0, 95), known[:, 0].clamp(0, 111)] == n).sum()
            seen += len(known)
    assert on_own > 0.6 * seen  # the others are hidden by somebody


def test_the_png_decides_the_part_and_the_mat_the_person(copy):
    name = "2008_000007"
    before = dataset(copy)[0]["annotations"]
    people = read_people(copy / "Annotations_Part" / f"{name}.mat", SIZE)
    write_objects(copy / "Annotations_Part" / f"{name}.mat", [thing("person", p.mask) for p in people[1:]])
    after = dataset(copy)[0]["annotations"]
    assert torch.equal(after["parts"], before["parts"])
    nobody = torch.from_numpy(people[0].mask) & (after["persons"]["map"] == 0)
    assert nobody.any()
    assert (after["part_instances"]["map"][nobody] == 0).all()
    assert len(after["persons"]["classes"]) == len(before["persons"]["classes"]) - 1


def test_a_limb_the_annotations_disagree_on_has_no_side(copy):
    name = "2008_000007"
    before = dataset(copy, reader=PascalPersonPartLR)[0]["annotations"]["parts"]
    stored = png(copy, name).copy()
    arms = stored == 3
    assert arms.any()
    stored[arms], stored[0, 0] = 6, IGNORE
    store_png(copy, name, stored)
    after = dataset(copy, reader=PascalPersonPartLR)[0]["annotations"]["parts"]
    changed = torch.from_numpy(arms)
    changed[0, 0] = True
    assert (after[changed] == IGNORE).all()
    assert torch.equal(after[~changed], before[~changed])


def test_the_pngs_alone_give_parts_without_persons(copy):
    whole = dataset(copy)[0]["annotations"]["parts"]
    shutil.rmtree(copy / "Annotations_Part")
    shutil.rmtree(copy / "PersonJoints")
    sample = dataset(copy)[0]
    assert not {"instances", "keypoints"} & sample.keys()
    assert sample["annotations"].keys() == {"parts"}
    assert torch.equal(sample["annotations"]["parts"], whole)
    with pytest.raises(InputError, match=r"no Annotations_Part/.*data\.form=seven"):
        dataset(copy, reader=PascalPersonPartLR)


def test_the_mats_alone_give_the_same_parts_and_leave_out_pictures_without_people(copy):
    whole = {s["sample_ids"]: s["annotations"]["parts"] for split in ("train", "val") for s in dataset(copy, split)}
    shutil.rmtree(copy / "pascal_person_part")
    for name, objects in (("2007_000001", [thing("dog", np.ones(SIZE, bool))]), ("2007_000002", [])):
        write_objects(copy / "Annotations_Part" / f"{name}.mat", objects)
        write_image(copy / "JPEGImages" / f"{name}.jpg", np.zeros((*SIZE, 3), np.uint8))
    with pytest.warns(UserWarning, match="2 of 12 pictures .* show no person"):
        alone = dataset(copy, "all")
    assert alone.ids == sorted(whole)
    assert all(torch.equal(s["annotations"]["parts"], whole[s["sample_ids"]]) for s in alone)
    with pytest.raises(InputError, match=r"list ids in data\.splits"):
        dataset(copy, "train")
    with pytest.raises(InputError, match=r"none of the 1 pictures .* has a person"):
        dataset(copy, ["2007_000001"])


def test_splits_are_the_lists_or_ids(stand_in):
    assert dataset(stand_in, "val").ids == [f"2008_{n:06d}" for n in (7, 8, 9, 10)]
    assert module(stand_in, splits={"test": ["2008_000002"]}).dataset("test").ids == ["2008_000002"]
    with pytest.raises(InputError, match="has the splits train, val, not 'all'"):
        dataset(stand_in, "all")
    with pytest.raises(InputError, match="lists 2008000002, a number"):
        dataset(stand_in, [2008_000002])
    with pytest.raises(InputError, match="lists no id"):
        dataset(stand_in, [])


def test_a_flip_exchanges_sides_of_parts_and_joints(stand_in):
    sample = {k: v for k, v in dataset(stand_in, reader=PascalPersonPartLR)[0].items() if isinstance(v, torch.Tensor)}
    once = hflip(sample, PASCAL_PERSON_PART_LR, MPII_KEYPOINT_PAIRS)
    twice = hflip(once, PASCAL_PERSON_PART_LR, MPII_KEYPOINT_PAIRS)
    assert all(torch.equal(twice[name], sample[name]) for name in ("images", "parts", "instances"))
    torch.testing.assert_close(twice["keypoints"], sample["keypoints"])
    left, right = (PASCAL_PERSON_PART_LR.id_of(f"{side}-lower-leg") for side in ("left", "right"))
    assert torch.equal(once["parts"] == left, (sample["parts"] == right).flip(-1))
    for a, b in [(3, 2), (4, 1), (5, 0), (13, 12), (14, 11), (15, 10), (6, 6), (8, 8), (9, 9)]:
        moved, seen = sample["keypoints"][:, b].clone(), sample["keypoints"][:, b, 2] > 0
        moved[seen, 0] = SIZE[1] - 1 - moved[seen, 0]
        torch.testing.assert_close(once["keypoints"][:, a], moved)


def test_the_data_module_flips_joints_in_mpiis_order(stand_in):
    plain, flipped = (module(stand_in, flip=p).dataset("train")[2] for p in (0.0, 1.0))
    expected = hflip({k: plain[k] for k in ("parts", "keypoints")}, PASCAL_PERSON_PART, MPII_KEYPOINT_PAIRS)
    torch.testing.assert_close(flipped["keypoints"], expected["keypoints"])
    assert torch.equal(flipped["parts"], expected["parts"])


def _remove(path):
    return lambda root: (root / path).unlink()


def _cut(path):
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:150])


def _labels(values):
    return lambda root: store_png(root, "2008_000007", values)


FAULTS = {
    "no picture": (_remove("JPEGImages/2008_000007.jpg"), r"2008_000007\.jpg does not exist"),
    "no mat": (_remove("Annotations_Part/2008_000007.mat"), r"Annotations_Part/2008_000007\.mat is missing"),
    "no poses": (_remove("PersonJoints/2008_000007.mat"), r"PersonJoints/2008_000007\.mat is missing"),
    "no map": (_remove(f"{MAPS}/2008_000007.png"), r"2008_000007\.png does not exist"),
    "damaged mat": (_cut("Annotations_Part/2008_000007.mat"), r"Annotations_Part/2008_000007\.mat is damaged"),
    "damaged poses": (_cut("PersonJoints/2008_000007.mat"), r"PersonJoints/2008_000007\.mat is damaged"),
    "other size": (_labels(np.ones((4, 5), np.uint8)), r"2008_000007\.png is 5x4 but its image is 112x96"),
    "other mask size": (
        lambda root: write_objects(root / "Annotations_Part/2008_000007.mat", [thing("person", np.ones((4, 5), bool))]),
        r"2008_000007\.mat is 5x4 but its image is 112x96",
    ),
    "an 8th class": (_labels(np.full(SIZE, 7, np.uint8)), r"label 7 in .*2008_000007\.png"),
    "unknown part": (
        lambda root: write_objects(
            root / "Annotations_Part/2008_000007.mat",
            [thing("person", np.ones(SIZE, bool), ("tail", np.ones(SIZE, bool)))],
        ),
        r"2008_000007\.mat names the part 'tail'",
    ),
    "other struct": (
        lambda root: shutil.copy(root / "PersonJoints/2008_000007.mat", root / "Annotations_Part/2008_000007.mat"),
        r"2008_000007\.mat has no variable 'anno'",
    ),
    "lacking field": (
        lambda root: write_objects(root / "Annotations_Part/2008_000007.mat", [{"mask": np.ones(SIZE), "parts": []}]),
        r"2008_000007\.mat .* lacks the field 'class'",
    ),
    "other joints": (
        lambda root: write_poses(root / "PersonJoints/2008_000007.mat", [np.ones((17, 3))]),
        r"2008_000007\.mat holds a pose of shape \(17, 3\)",
    ),
    "empty list": (lambda root: (root / LISTS / "val_id.txt").write_text("\n"), r"val_id\.txt lists nothing"),
    "no list": (_remove(f"{LISTS}/val_id.txt"), "has the splits train, not 'val'"),
    "no pictures": (lambda root: shutil.rmtree(root / "JPEGImages"), "JPEGImages/ is missing"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not hold Pascal-Person-Part.*point data\.root"):
        module(tmp_path).check()
    with pytest.raises(InputError, match=r"data\.form=ten is not known"):
        module(None, form="ten")


def test_real_pictures_are_read_unchanged(real):
    root = real / "pascal_part"
    with pytest.warns(UserWarning, match="10 of 15 pictures"):
        data = dataset(root, "all")
    people = {"2008_000652": 1, "2008_000700": 1, "2008_000726": 2, "2008_000939": 1, "2008_003228": 3}
    assert data.ids == list(people)
    for sample in data:
        truth = sample["annotations"]
        assert len(truth["persons"]["classes"]) == people[sample["sample_ids"]]
        assert set(truth["parts"].unique().tolist()) <= set(range(7))
        assert "keypoints" not in sample
    assert set(truth["parts"].unique().tolist()) == {0, 1, 2, 3, 4}  # they stand behind a table
    baby = dataset(root, ["2008_000652"], reader=PascalPersonPartLR)[0]["annotations"]["parts"]
    left, right = ((baby == PASCAL_PERSON_PART_LR.id_of(f"{s}-lower-arm")).nonzero()[:, 1] for s in ("left", "right"))
    assert left.float().mean() > right.float().mean()  # it faces the camera
