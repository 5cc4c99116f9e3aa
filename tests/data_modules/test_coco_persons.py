import json
import pickle

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from data_modules.coco_persons import COCOPersonsDataModule
from data_modules.datasets.coco_persons import COCOPersons
from data_modules.formats.coco_json import read_coco
from data_modules.loading.transforms import ClipTransform
from data_modules.synthetic.layouts.coco_persons import COCOPersonsWriter
from partwise.errors import InputError
from partwise.labels import FOREGROUND
from partwise.ops.flip import hflip

LIST = "annotations/person_keypoints_{}2017_pose2seg.json"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    COCOPersonsWriter(photos={"train": 4, "val": 5}, size=(96, 128), crowds=0.5, workers=1).write(root)
    return root


def dataset(root, split="val", size=(96, 128), **options):
    return COCOPersons(root, split, ClipTransform(size, FOREGROUND), **options)


def change(root, edit, split="val"):
    """Edit the content of a json, given as its dict."""
    file = root / LIST.format(split)
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_batches_have_the_documented_shapes(stand_in):
    data = COCOPersonsDataModule(root=stand_in, image_size=64, batch_size=2, num_workers=0)
    for stage, count in (("train", 4), ("val", 5), ("test", 5)):
        assert len(data.dataset(stage)) == count
        batch = next(iter(getattr(data, f"{stage}_dataloader")()))
        assert batch["images"].shape == (2, 3, 64, 64)
        assert batch["parts"].shape == batch["instances"].shape == (2, 64, 64)
        assert all(k.shape[1:] == (17, 3) and k.dtype == torch.float32 for k in batch["keypoints"])
        assert ("annotations" in batch) == (stage != "train")
    assert batch["annotations"][0]["persons"]["masks"].shape[1:] == (96, 128)


def test_ids_and_keypoint_rows_belong_together(stand_in):
    data = dataset(stand_in, annotations=True)
    inside = total = 0
    for sample in data:
        ids, rows = sample["instances"], sample["keypoints"]
        assert set(ids.unique().tolist()) <= set(range(len(rows) + 1))
        assert len(sample["annotations"]["persons"]["classes"]) == len(rows)
        masks = sample["annotations"]["persons"]["masks"]
        assert len(masks) == len(rows)
        assert all(masks[n - 1][ids == n].all() for n in range(1, len(rows) + 1))  # the map has what nobody covers
        assert torch.equal(sample["annotations"]["persons"]["keypoints"], rows)
        for n, joints in enumerate(rows, 1):
            for x, y, visibility in joints.tolist():
                if visibility == 2:
                    total += 1
                    inside += bool(ids[round(y), round(x)] == n)
    assert inside > 0.97 * total > 50


def test_crowds_are_ignored(stand_in):
    api = COCO(str(stand_in / LIST.format("val")))
    crowds = [a for a in api.anns.values() if a["iscrowd"]]
    assert crowds
    data = dataset(stand_in)
    for crowd in crowds:
        sample = data[data.index.image_ids.index(crowd["image_id"])]
        mask = torch.from_numpy(api.annToMask(crowd)).bool()
        assert (sample["parts"][mask & (sample["instances"] == 0)] == 255).all()
        assert (sample["instances"][mask] == 0).float().mean() > 0.9
    assert sum(int((sample["parts"] == 255).sum()) for sample in data) > 0


def test_masks_are_those_of_pycocotools(stand_in):
    api, data = COCO(str(stand_in / LIST.format("val"))), dataset(stand_in)
    for sample in data:
        (image,) = api.getImgIds(imgIds=[data.index.image_ids[sample["index"]]])
        people = [a for a in api.loadAnns(api.getAnnIds(image)) if not a["iscrowd"]]
        assert len(people) == len(sample["keypoints"])
        for n, person in enumerate(people, 1):
            mask = api.annToMask(person) > 0
            assert mask[sample["instances"].numpy() == n].all()


def test_the_smaller_mask_is_on_top(copy):
    square = [[10.0, 10.0, 50.0, 10.0, 50.0, 50.0, 10.0, 50.0]]
    inner = [[20.0, 20.0, 30.0, 20.0, 30.0, 30.0, 20.0, 30.0]]

    def edit(content):
        first = content["images"][0]["id"]
        content["annotations"] = [
            {"id": n, "image_id": first, "category_id": 1, "iscrowd": 0, "segmentation": s, "bbox": [0, 0, 1, 1]}
            for n, s in enumerate((inner, square, inner), 1)
        ]

    change(copy, edit)
    sample = dataset(copy, annotations=True)[0]
    assert sample["instances"][25, 25] == 3
    assert sample["instances"][40, 40] == 2
    assert sample["annotations"]["persons"]["classes"].tolist() == [1, 1, 1]  # the first is covered, and still there
    assert sample["keypoints"].shape == (3, 17, 3)
    assert sample["keypoints"].abs().sum() == 0


def test_pictures_without_persons_count_in_evaluation_only(copy):
    def edit(content):
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 6]

    change(copy, edit)
    assert len(dataset(copy)) == 5
    assert dataset(copy)[1]["keypoints"].shape == (0, 17, 3)
    trained_on = dataset(copy, seed=0)
    assert len(trained_on) == 4
    assert "000000000006.jpg" not in trained_on.ids


def test_a_person_without_a_mask_is_ignored_in_its_box(copy):
    def edit(content):
        person = next(a for a in content["annotations"] if not a["iscrowd"])
        content["annotations"] = [{**person, "image_id": 5, "segmentation": [], "bbox": [10, 20, 30, 40]}]

    change(copy, edit)
    parts = dataset(copy)[0]["parts"]
    assert (parts[20:60, 10:40] == 255).all()
    assert (parts == 255).sum() == 30 * 40


def test_cocos_own_names_are_read_and_a_split_may_name_a_json_or_pictures(copy):
    (copy / LIST.format("val")).rename(copy / "annotations/person_keypoints_val2017.json")
    assert len(dataset(copy)) == 5
    assert len(dataset(copy, "person_keypoints_val2017")) == 5
    names = ["000000000008.jpg", "000000000006.jpg"]
    assert dataset(copy, names).ids == names
    with pytest.raises(InputError, match=r"no json in .* lists all of"):
        dataset(copy, ["nobody.jpg"])


def test_flipping_twice_is_the_identity_and_once_swaps(stand_in):
    plain = dataset(stand_in)[0]
    sample = {k: plain[k] for k in ("images", "parts", "instances", "keypoints")}
    once = hflip(sample, FOREGROUND)
    seen = sample["keypoints"][:, 5, 2] > 0
    assert (once["keypoints"][seen, 6, 0] == 127 - sample["keypoints"][seen, 5, 0]).all()
    twice = hflip(once, FOREGROUND)
    assert all(torch.allclose(twice[k], sample[k]) for k in sample)
    flipped = COCOPersons(stand_in, "val", ClipTransform((96, 128), FOREGROUND, flip=1.0), seed=3)[0]
    assert all(torch.equal(flipped[k], once[k]) for k in once)


def test_the_index_is_read_once_and_again_when_the_file_changes(copy):
    file = copy / LIST.format("val")
    first = read_coco(file, ("person",))
    assert read_coco(file, ("person",)) is first
    change(copy, lambda content: content["images"].append({"id": 99, "file_name": "new.jpg"}))
    assert "new.jpg" in read_coco(file, ("person",))
    same = pickle.loads(pickle.dumps(first))
    assert same.things(first.names[0], (96, 128))[0].box == first.things(first.names[0], (96, 128))[0].box


def _first_person(**values):
    def edit(content):
        person = next(a for a in content["annotations"] if not a["iscrowd"] and a["image_id"] == 5)
        person.update(values)

    return lambda root: change(root, edit)


def _drop(key):
    return lambda root: change(root, lambda content: content.pop(key))


def _taller(root):
    def edit(content):
        content["images"][0]["height"] = 97
        content["annotations"] = [a for a in content["annotations"] if not a["iscrowd"]]  # whose RLE have the size

    change(root, edit)


FAULTS = {
    "no picture": (lambda root: (root / "val2017/000000000007.jpg").unlink(), r"val2017/000000000007\.jpg is missing"),
    "no json": (lambda root: (root / LIST.format("val")).unlink(), r"val2017_pose2seg\.json is missing.*train2017"),
    "cut json": (lambda root: (root / LIST.format("val")).write_text('{"images": ['), r"val2017_pose2seg\.json is dam"),
    "other json": (lambda root: (root / LIST.format("val")).write_text("[1]"), "has no list 'images'"),
    "no categories": (_drop("categories"), "has no list 'categories'"),
    "no persons": (lambda root: change(root, lambda c: c["categories"][0].update(name="cat")), "no category person"),
    "no pictures": (lambda root: change(root, lambda c: c.update(images=[], annotations=[])), "lists no picture"),
    "twice": (lambda root: change(root, lambda c: c["images"][1].update(file_name="000000000005.jpg")), "twice"),
    "stray": (_first_person(image_id=777), "annotation 1: image_id is 777, which the file does not list"),
    "short RLE": (
        _first_person(segmentation={"size": [96, 128], "counts": "0a"}),
        r"annotation 1: segmentation.counts '0a' are damaged",
    ),
    "wrong RLE": (
        _first_person(segmentation={"size": [10, 10], "counts": [100]}),
        r"annotation 1: segmentation.size is \[10, 10\], but its image is \[96, 128\]",
    ),
    "no polygon": (
        _first_person(segmentation=[[1, 2, "x", 4, 5, 6]]),
        r"annotation 1: segmentation\[0\]\[2\] is 'x'; allowed is flat polygons",
    ),
    "two pictures of one id": (lambda root: change(root, lambda c: c["images"][1].update(id=5)), "id 5 occurs twice"),
    "points in pairs": (_first_person(segmentation=[[[1, 2], [3, 4], [5, 9]]]), r"has its points as pairs \[x, y\]"),
    "two points": (_first_person(segmentation=[[10, 10, 40, 40]]), r"segmentation\[0\] is \[10, 10, 40, 40\]"),
    "far corner": (_first_person(segmentation=[[1, 1, 1e9, 1, 9, 9]]), r"segmentation\[0\] reaches 1000000000.0"),
    "crowd of text": (_first_person(iscrowd="1"), "iscrowd is '1'; allowed is 0, 1, false or true"),
    "deep json": (lambda root: (root / LIST.format("val")).write_text('{"images": ' + "[" * 10**5), "damaged|wrong|is"),
    "16 keypoints": (_first_person(keypoints=[1] * 48), "48 numbers for 17 keypoints"),
    "other size": (_taller, "is 128x96 but .* 128x97"),
    "truncated": (lambda root: (root / "val2017/000000000005.jpg").write_bytes(b"\xff\xd8\xff"), r"000000000005\.jpg"),
}


NAMES = [
    "",
    "../000000000005.jpg",
    "a/../../b.jpg",
    "/etc/b.jpg",
    "C:/b.jpg",
    "val2017\\b.jpg",
    "\\\\host\\b.jpg",
    "a\0.jpg",
]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_lie_below_their_folder(name, copy):
    change(copy, lambda content: content["images"][0].update(file_name=name))
    with pytest.raises(
        InputError, match=r"image 5 has the file_name .*allowed is a name or a path with / below"
    ) as caught:
        dataset(copy)
    assert "\n" not in str(caught.value)


def test_pictures_may_lie_in_folders_of_their_own(copy):
    change(copy, lambda content: content["images"][0].update(file_name="first/of.all/000000000005.jpg"))
    (copy / "val2017/first/of.all").mkdir(parents=True)
    (copy / "val2017/000000000005.jpg").rename(copy / "val2017/first/of.all/000000000005.jpg")
    assert dataset(copy)[0]["sample_ids"] == "first/of.all/000000000005.jpg"


def test_objects_of_a_picture_without_a_size_are_checked_when_it_is_read(copy):
    def edit(content):
        del content["images"][0]["height"], content["images"][0]["width"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] == 5 and not a["iscrowd"]]

    change(copy, edit)
    assert dataset(copy)[0]["instances"].any()
    _first_person(segmentation=[[1, 1, 9, 1, 9, 1281]])(copy)
    with pytest.raises(InputError, match=r"annotation 1 of 000000000005.jpg: segmentation\[0\] reaches 1281.0"):
        dataset(copy)[0]
    _first_person(segmentation={"size": [9, 9], "counts": [81]})(copy)
    with pytest.raises(InputError, match=r"segmentation.size is \[9, 9\], but its image is \[96, 128\]"):
        dataset(copy)[0]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(fault, copy, assert_refused):
    assert_refused(fault, copy, lambda: dataset(copy)[0])


def test_a_wrong_root_and_an_empty_list_are_named(tmp_path, stand_in):
    with pytest.raises(InputError, match=r"person_keypoints_train2017_pose2seg\.json is missing"):
        COCOPersonsDataModule(root=tmp_path).check()
    with pytest.raises(InputError, match="lists no id"):
        dataset(stand_in, [])


def test_real_samples_agree_with_pycocotools(real):
    root = real / "coco"
    data = COCOPersonsDataModule(root=root, image_size=(640, 640), splits={"val": "test_coco", "test": "test_coco"})
    api = COCO(str(root / "annotations/person_keypoints_train2017.json"))
    everything = dataset(root, "train", (640, 640), annotations=True)
    assert len(everything) == 30
    assert len(data.dataset("train")) == len({a["image_id"] for a in api.anns.values() if not a["iscrowd"]})
    ignored = 0
    for sample in everything:
        image = everything.index.image_ids[sample["index"]]
        people = api.loadAnns(api.getAnnIds(image))
        union = np.any([api.annToMask(a) for a in people if not a["iscrowd"]], axis=0)
        truth = sample["annotations"]
        assert ((truth["parts"].numpy() == 1) == union).all()
        alone = [api.annToMask(a) for a in people if not a["iscrowd"]]
        assert len(truth["persons"]["masks"]) == len(alone)
        for mask, own in zip(truth["persons"]["masks"].numpy(), alone, strict=True):
            assert (mask == own).all()
        ignored += int((truth["parts"] == 255).sum())
        native = everything.index.things(sample["sample_ids"], union.shape) if people else []
        for thing, annotation in zip(native, people, strict=True):
            assert thing.keypoints.ravel().tolist() == pytest.approx(annotation["keypoints"])
    assert ignored > 500
    assert len(data.dataset("val")) == 4
