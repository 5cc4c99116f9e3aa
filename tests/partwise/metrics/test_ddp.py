"""Metrics of parts and persons over two processes: those of one."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from two_processes import SCENARIOS

from partwise.labels import PASCAL_PERSON_PART
from partwise.metrics.parts_and_persons import VIPMetrics

pytestmark = [pytest.mark.ddp, pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")]


def image(index):
    """(Parsing, Annotation) of one image; sizes differ, truth may be empty, scores tie across images."""
    rng = np.random.default_rng(index)
    size = tuple(rng.integers(6, 20, 2))
    parts = rng.integers(0, PASCAL_PERSON_PART.num_classes, size)
    n, m = (0 if index % 2 else 5), (0 if index % 3 == 0 else 4)
    coarse = np.add.outer(np.arange(size[0]) // 4, np.arange(size[1]) // 4)

    def objects(count, shift, classes):
        ids = torch.from_numpy(np.roll(coarse, shift, 1) % (count + 1))
        return {"map": ids, "classes": torch.from_numpy(rng.integers(1, classes + 1, count))}

    def scored(found):
        return {**found, "scores": torch.from_numpy(rng.integers(0, 4, len(found["classes"])) / 4).float()}

    truth = np.where(rng.random(size) < 0.1, 255, parts)
    noisy = np.where(rng.random(size) < 0.4, rng.integers(0, PASCAL_PERSON_PART.num_classes, size), parts)
    parsing = {
        "parts": torch.from_numpy(noisy),
        "persons": scored(objects(n, 1, 1)),
        "part_instances": scored(objects(n, 0, 2)),
    }
    annotation = {
        "parts": torch.from_numpy(truth),
        "persons": objects(m, 0, 1),
        "part_instances": objects(m, 1, 2),
    }
    return parsing, annotation


def score(metrics, batches):
    """Add batches; the metrics in a form that compares exactly."""
    for batch in batches:
        metrics.update(batch, *zip(*map(image, batch), strict=True))
    return repr((metrics.compute(), metrics.report()))


def scores(own, other):
    """The metrics of a rank's batches, those after one more image, and those of the other's after a reset."""
    metrics = VIPMetrics(PASCAL_PERSON_PART)
    results = [score(metrics, own), score(metrics, [[20 + dist.get_rank()]])]
    metrics.reset()
    return [*results, score(metrics, other)]


def test_scenarios_are_complete():
    detections = [len(image(i)[0]["persons"]["classes"]) for i in range(4)]
    objects = [len(image(i)[1]["persons"]["classes"]) for i in range(4)]
    assert detections == [5, 0, 5, 0]
    assert objects == [0, 4, 4, 0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_metrics_of_one(ranks, name):
    images = [i for batches in SCENARIOS[name] for batch in batches for i in batch]
    for stage, seen in enumerate((images, [*images, 20, 21], images)):
        alone = score(VIPMetrics(PASCAL_PERSON_PART), [[i] for i in sorted(set(seen))])
        assert ranks[0][name][stage] == ranks[1][name][stage] == alone
