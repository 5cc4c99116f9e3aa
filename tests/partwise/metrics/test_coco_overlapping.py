"""COCO's metrics of people who overlap, by masks and by keypoints, against pycocotools, alone and in two processes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from coco_scenes import of_rows
from scipy import ndimage
from two_processes import SCENARIOS

from data_modules.synthetic.layouts.coco_json import compressed
from partwise.batches import map_of, masks_of
from partwise.labels import FOREGROUND
from partwise.metrics.coco import COCOMetrics
from partwise.scores.coco import METRICS

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
POSED = [f"keypoints_{name}" for name in METRICS]


def image(index):
    """(Parsing, Annotation) of one image; odd ones have no detections, multiples of 3 no true persons.

    Masks overlap and may be empty, scores tie, joints may be hidden, regions are ignored.
    """
    rng = np.random.default_rng(index)
    size = tuple(int(side) for side in rng.integers(100, 260, 2))
    n, m = (0 if index % 2 else int(rng.integers(4, 25))), (0 if index % 3 == 0 else 5)
    rows, columns = np.mgrid[: size[0], : size[1]]

    def person(x, y, width, height):
        mask = ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 < 1
        joints = np.column_stack([rng.normal(x, width / 2, 17), rng.normal(y, height / 2, 17), rng.integers(0, 3, 17)])
        joints[rng.random(17) < rng.choice([0.2, 1.0], p=[0.8, 0.2])] = 0
        return mask, joints

    places = [
        (rng.integers(size[1]), rng.integers(size[0]), rng.integers(8, 70), rng.integers(8, 90)) for _ in range(m)
    ]
    true = [person(*place) for place in places]
    if m and index % 4:
        true[1] = (np.zeros(size, bool), true[1][1])
    found = []
    for _ in range(n):
        if m and rng.random() < 0.8:
            mask, joints = true[rng.integers(m)]
            mask = np.roll(mask, tuple(rng.integers(-5, 6, 2)), (0, 1))
            found.append((mask, joints + rng.normal(0, rng.choice([1, 4]), (17, 3)) * [1, 1, 0]))
        else:
            found.append(person(rng.integers(size[1]), rng.choice([-50, rng.integers(size[0])]), 20, 40))
    parts = np.zeros(size, int)
    parts[: rng.integers(40), : rng.integers(40)] = 255
    parts[-30:-10, -30 : -rng.integers(5, 31)] = 255

    def objects(people):
        masks = np.stack([mask for mask, _ in people]) if people else np.zeros((0, *size), bool)
        joints = np.stack([joints for _, joints in people]) if people else np.zeros((0, 17, 3))
        classes = torch.ones(len(people), dtype=torch.int64)
        return {
            "masks": torch.from_numpy(masks),
            "classes": classes,
            "keypoints": torch.from_numpy(joints).float(),
        }

    scores = torch.from_numpy(rng.integers(0, 5, n) / 4).float()
    return (
        {"parts": torch.zeros(size, dtype=torch.int64), "persons": {**objects(found), "scores": scores}},
        {"parts": torch.from_numpy(parts), "persons": objects(true)},
    )


def score(metrics, batches):
    """Add batches; the metrics in a form that compares exactly."""
    for batch in batches:
        metrics.update(batch, *zip(*map(image, batch), strict=True))
    return repr(metrics.compute())


def scores(own, other):
    """The metrics of a rank's batches, and those after one more image."""
    metrics = COCOMetrics()
    return [score(metrics, own), score(metrics, [[20 + dist.get_rank()]])]


def directly(pairs, keypoints):
    """pycocotools on the images (Parsing, Annotation), in the order given."""
    objects, results = [], []
    for i, (parsing, annotation) in enumerate(pairs):
        found, true = parsing["persons"], annotation["persons"]
        ignored = (annotation["parts"] == 255).numpy()
        if keypoints:
            regions, count = ndimage.label(ignored)
            crowds = [regions == n for n in range(1, count + 1)]
        else:
            crowds = [ignored] if ignored.any() else []
        for n, mask in enumerate([*masks_of(true).numpy(), *crowds]):
            if not mask.any():
                continue
            crowd = n >= len(true["classes"])
            y, x = np.nonzero(mask)
            about: dict[str, Any] = {"id": len(objects) + 1, "image_id": i, "category_id": 1, "iscrowd": int(crowd)}
            about |= {"area": int(mask.sum()), "segmentation": compressed(mask)}
            if keypoints:
                joints = np.zeros(51) if crowd else true["keypoints"][n].double().numpy().ravel()
                box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
                about |= {"keypoints": joints.tolist(), "num_keypoints": int((joints[2::3] > 0).sum()), "bbox": box}
            objects.append(about)
        for n, mask in enumerate(masks_of(found).numpy()):
            row = {"image_id": i, "category_id": 1, "score": float(found["scores"][n])}
            what = {"keypoints": found["keypoints"][n].flatten().tolist()} if keypoints else {}
            results.append(row | (what or {"segmentation": compressed(mask)}))
    metrics = of_rows(range(len(pairs)), objects, results, "keypoints" if keypoints else "segm")
    return dict(zip(POSED, metrics.values(), strict=True)) if keypoints else metrics


def scored(pairs):
    """The metrics, made and updated as tasks do."""
    metrics = COCOMetrics(FOREGROUND)
    for i, (parsing, annotation) in enumerate(pairs):
        metrics.update([i], [parsing], [annotation], [f"{i}.jpg"])
    return metrics.compute()


@pytest.mark.parametrize("images", [range(12), [2], [4, 8, 10], [14, 20, 26, 32, 34]])
def test_masks_and_keypoints_equal_pycocotools(images):
    pairs = [image(i) for i in images]
    metrics = scored(pairs)
    assert list(metrics) == [*METRICS, *POSED]
    assert 0 < metrics["AP"] < 1
    assert 0 < metrics["keypoints_AP"] < 1
    assert metrics == pytest.approx(directly(pairs, False) | directly(pairs, True), abs=1e-9, nan_ok=True)


def test_cases_are_covered():
    people = [truth["persons"]["masks"] for _, truth in map(image, (2, 4, 8))]
    assert all((masks.sum(0) > 1).any() for masks in people)
    joints = torch.cat([truth["persons"]["keypoints"] for _, truth in map(image, range(12))])
    assert (joints[..., 2] > 0).any(1).unique().tolist() == [False, True]
    for side in (0, 1):
        assert any(not image(i)[side]["persons"]["masks"].flatten(1).any(1).all() for i in range(12))


def test_an_image_without_keypoints_on_one_side_is_scored_by_masks_alone():
    pairs = [image(i) for i in (2, 4, 8)]
    del pairs[1][0]["persons"]["keypoints"]
    del pairs[2][1]["persons"]["keypoints"]
    metrics = scored(pairs)
    assert metrics == pytest.approx(directly(pairs, False) | directly(pairs[:1], True), abs=1e-9, nan_ok=True)
    assert tuple(scored(pairs[1:])) == METRICS


def test_the_front_of_people_may_be_scored_against_whole_ones():
    """A disjoint result beside an overlapping truth, as of a parser that draws one map of ids."""
    parsing, annotation = image(2)
    people = parsing["persons"]
    parsing["persons"] = {"map": map_of(people), "classes": people["classes"], "scores": people["scores"]}
    pairs = [(parsing, annotation)]
    assert scored(pairs) == pytest.approx(directly(pairs, False), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("masks", torch.zeros(2, 3, 4), r"image 0: masks are torch.float32 \(2, 3, 4\), not bool \(2, H, W\)"),
        ("masks", torch.zeros(1, 3, 4, dtype=torch.bool), r"image 0: masks are .*\(1, 3, 4\), not bool \(2, H, W\)"),
        ("masks", torch.zeros(2, 3, 5, dtype=torch.bool), r"image 0: predicted persons, .* are \(3, 5\), \(3, 4\)"),
        ("keypoints", torch.zeros(2, 16, 3), r"image 0: the keypoints of 2 persons are \(2, 16, 3\); COCO's are"),
        ("keypoints", torch.full((2, 17, 3), math.inf), "image 0: keypoints hold NaN or infinity"),
    ],
)
def test_bad_masks_and_keypoints_are_named(field, value, message):
    two = {
        "masks": torch.zeros(2, 3, 4, dtype=torch.bool),
        "classes": torch.ones(2),
        "keypoints": torch.zeros(2, 17, 3),
    }
    parts = torch.zeros(3, 4, dtype=torch.int64)
    pred = {"parts": parts, "persons": {**two, "scores": torch.ones(2), field: value}}
    with pytest.raises(ValueError, match=message):
        scored([(pred, {"parts": parts, "persons": two})])


@pytest.mark.ddp
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_metrics_of_one(ranks, name):
    images = [i for batches in SCENARIOS[name] for batch in batches for i in batch]
    for stage, seen in enumerate((images, [*images, 20, 21])):
        alone = score(COCOMetrics(), [[i] for i in sorted(set(seen))])
        assert ranks[0][name][stage] == ranks[1][name][stage] == alone
