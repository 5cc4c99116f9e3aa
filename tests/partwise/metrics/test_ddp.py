import importlib
import json
from pathlib import Path

import pytest
import torch.multiprocessing

from partwise.labels import PASCAL_PERSON_PART
from partwise.metrics.parsing import ParsingMetric
from partwise.metrics.vip import VIPMetrics

pytestmark = [pytest.mark.ddp, pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")]
SCENARIOS = [
    "odd_number", "uneven_updates", "padded_sampler", "rank_without_detections", "rank_without_updates",
    "first_rank_without_updates", "no_detections_at_all", "no_updates_at_all",
]  # fmt: skip


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)  # spawned processes inherit the path
        yield importlib.import_module("gloo_worker")


@pytest.fixture(scope="module")
def ranks(worker, tmp_path_factory):
    """What both processes measured."""
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(worker.run, args=(str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def alone(worker, images):
    """The figures of one process over distinct images; the sums, which cannot drop repeats, are left out."""
    metrics, summed = VIPMetrics(PASCAL_PERSON_PART), ParsingMetric(PASCAL_PERSON_PART.num_classes)
    return worker.score(metrics, summed, [[i] for i in sorted(set(images))])


def test_scenarios_are_complete(worker):
    assert list(worker.SCENARIOS) == SCENARIOS
    detections = [len(worker.image(i)[0]["persons"]["classes"]) for i in range(4)]
    objects = [len(worker.image(i)[1]["persons"]["classes"]) for i in range(4)]
    assert detections == [5, 0, 5, 0]
    assert objects == [0, 4, 4, 0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_figures_of_one(worker, ranks, name):
    images = [i for batches in worker.SCENARIOS[name] for batch in batches for i in batch]
    for stage, seen in enumerate((images, [*images, 20, 21], images)):
        first, second = ranks[0][name][stage], ranks[1][name][stage]
        assert first == second
        expected = alone(worker, seen)
        if name == "padded_sampler":  # `ParsingMetric` sums the repeated image twice
            first, expected = first.rsplit("}, {", 1)[0], expected.rsplit("}, {", 1)[0]
        assert first == expected
