"""COCO's metrics of maps against pycocotools on the same masks, alone and over two processes."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from coco_scenes import of_rows
from two_processes import SCENARIOS

from data_modules.synthetic.layouts.coco_json import compressed
from partwise.metrics.coco import COCOMetrics
from partwise.scores.coco import METRICS

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")


def image(index):
    """(Parsing, Annotation) of one image: overlaps of all sizes, ties, objects without pixels, ignored regions."""
    rng = np.random.default_rng(index)
    size = tuple(int(side) for side in rng.integers(90, 260, 2))
    n, m = (0 if index % 2 else int(rng.integers(1, 130 if index == 4 else 9))), (0 if index % 3 == 0 else 4)
    truth, pred = np.zeros(size, int), np.zeros(size, int)
    for person in range(1, m + 1):
        y, x = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        truth[y : y + rng.integers(5, 200), x : x + rng.integers(5, 200)] = person
    for person in range(1, n + 1):
        region = truth == rng.integers(1, m + 1) if m and rng.random() < 0.8 else np.zeros(size, bool)
        pred[np.roll(region, tuple(rng.integers(-3, 4, 2)), (0, 1))] = person
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        pred[y : y + 8, x : x + 8] = person
    parts = (truth > 0).astype(int)
    parts[: rng.integers(0, 40), : rng.integers(0, 40)] = 255
    scores = torch.from_numpy(rng.integers(0, 5, n) / 4).float()
    ones = torch.ones(n, dtype=torch.int64)
    persons = {"map": torch.from_numpy(pred), "classes": ones, "scores": scores}
    annotation = {
        "parts": torch.from_numpy(parts),
        "persons": {"map": torch.from_numpy(truth), "classes": torch.ones(m, dtype=torch.int64)},
    }
    return {"parts": torch.from_numpy(pred > 0).long(), "persons": persons}, annotation


def score(metrics, batches):
    """Add batches; the metrics in a form that compares exactly."""
    for batch in batches:
        metrics.update(batch, *zip(*map(image, batch), strict=True))
    return repr(metrics.compute())


def scores(own, other):
    """The metrics of a rank's batches, those after one more image, and those of the other's after a reset."""
    metrics = COCOMetrics()
    results = [score(metrics, own), score(metrics, [[20 + dist.get_rank()]])]
    metrics.reset()
    return [*results, score(metrics, other)]


def directly(images):
    """pycocotools on the masks of the images, in the order given."""
    objects, results = [], []
    for i in images:
        parsing, annotation = image(i)
        regions = [annotation["persons"]["map"] == n + 1 for n in range(len(annotation["persons"]["classes"]))]
        for region, crowd in [*((r, 0) for r in regions), (annotation["parts"] == 255, 1)]:
            if region.any():
                about = {"id": len(objects) + 1, "image_id": i, "category_id": 1, "iscrowd": crowd}
                objects.append(about | {"area": int(region.sum()), "segmentation": compressed(region.numpy())})
        for n, value in enumerate(parsing["persons"]["scores"].tolist(), 1):
            mask = compressed((parsing["persons"]["map"] == n).numpy())
            results.append({"image_id": i, "category_id": 1, "score": value, "segmentation": mask})
    return of_rows(images, objects, results)


@pytest.mark.parametrize("images", [[0, 1, 2, 3, 4, 5, 6, 7, 8], [2], [4, 10, 8], [20, 26, 14, 2]])
def test_equals_pycocotools(images):
    metrics = COCOMetrics()
    score(metrics, [images])
    values = metrics.compute()
    assert tuple(values) == METRICS
    assert 0 < values["AP"] < 1
    assert values == pytest.approx(directly(sorted(images)), abs=1e-12, nan_ok=True)
    assert len(images) != 3 or all(0 < value < 1 for value in values.values())  # large persons too


def test_cases_are_covered():
    detections = [len(image(i)[0]["persons"]["classes"]) for i in range(5)]
    assert detections[4] > 100
    assert [bool(d) for d in detections] == [True, False, True, False, True]
    assert any((image(i)[1]["parts"] == 255).any() for i in range(5))


def test_order_and_repeats_do_not_matter():
    once, often = COCOMetrics(), COCOMetrics()
    assert score(once, [[1, 2, 4, 8]]) == score(often, [[8, 2], [4, 2], [1], [8]])


def test_reset_forgets_all():
    metrics = COCOMetrics()
    before = score(metrics, [[2, 4]])
    metrics.reset()
    assert all(math.isnan(value) for value in metrics.compute().values())
    assert score(metrics, [[2, 4]]) == before


def persons(*rows, **more):
    ids = torch.tensor(rows)
    return {"map": ids, "classes": torch.ones(int(ids.max()), dtype=torch.int64), **more}


def metrics_of(pred, truth, parts=None):
    metrics = COCOMetrics()
    parts = torch.zeros_like(pred["map"]) if parts is None else parts
    metrics.update([0], [{"parts": parts, "persons": pred}], [{"parts": parts, "persons": truth}])
    return metrics.compute()


def test_persons_without_pixels():
    """True ones are none, predicted ones are false positives."""
    whole = persons([1, 1, 2, 2])
    found = persons([1, 1, 2, 2], scores=torch.tensor([0.5, 0.4]))
    assert metrics_of(found, whole)["AP"] == 1
    unseen = {**whole, "classes": torch.ones(3, dtype=torch.int64)}
    assert metrics_of(found, unseen)["AP"] == metrics_of(found, unseen)["AR"] == 1
    empty = {**found, "classes": torch.ones(3, dtype=torch.int64), "scores": torch.tensor([0.5, 0.4, 0.9])}
    assert metrics_of(empty, whole)["AP"] == pytest.approx(2 / 3)


def test_detections_within_ignored_pixels_do_not_count():
    truth, parts = persons([1, 1, 0, 0, 0]), torch.tensor([[1, 1, 255, 255, 255]])
    beside = persons([2, 2, 0, 1, 1], scores=torch.tensor([0.9, 0.5]))
    assert metrics_of(beside, truth, parts)["AP"] == pytest.approx(1)
    assert metrics_of(beside, truth)["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        (persons([1, 0, 0], scores=torch.ones(1)), persons([1, 0]), r"image 0: predicted persons, .* \(1, 3\)"),
        (persons([1, 0]), persons([1, 0]), "image 0: predicted objects have no scores"),
        (persons([1, 2], scores=torch.ones(1)), persons([1, 0]), "image 0: 2 predicted objects have 1 scores"),
        (persons([1, 0], scores=torch.tensor([math.nan])), persons([1, 0]), "image 0: .* hold NaN"),
        (persons([1, 0], scores=torch.ones(1)), {**persons([1, 0]), "map": torch.tensor([[2, 0]])}, "holds id 2"),
        (persons([1, 0], scores=torch.ones(1)), {**persons([1, 0]), "map": torch.tensor([[-1, 0]])}, "holds id -1"),
    ],
)  # fmt: skip
def test_bad_images_are_named(pred, truth, message):
    with pytest.raises(ValueError, match=message):
        metrics_of(pred, truth, torch.zeros_like(truth["map"]))


def test_persons_are_needed():
    metrics = COCOMetrics()
    parts = torch.zeros((1, 2), dtype=torch.int64)
    with pytest.raises(ValueError, match="image 3: parsing and annotation need 'persons'"):
        metrics.update([3], [{"parts": parts}], [{"parts": parts}])


@pytest.mark.ddp
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_metrics_of_one(ranks, name):
    images = [i for batches in SCENARIOS[name] for batch in batches for i in batch]
    for stage, seen in enumerate((images, [*images, 20, 21], images)):
        alone = score(COCOMetrics(), [[i] for i in sorted(set(seen))])
        assert ranks[0][name][stage] == ranks[1][name][stage] == alone
