import gloo_worker as worker
import pytest
from two_processes import SCENARIOS, in_both

from partwise.labels import PASCAL_PERSON_PART
from partwise.metrics.parsing import ParsingMetric
from partwise.metrics.parts_and_persons import VIPMetrics

pytestmark = [pytest.mark.ddp, pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both processes measured."""
    return in_both(worker.__file__, tmp_path_factory.mktemp("gloo"))


def alone(images):
    """The metrics of one process over distinct images; the sums, which cannot drop repeats, are left out."""
    metrics, summed = VIPMetrics(PASCAL_PERSON_PART), ParsingMetric(PASCAL_PERSON_PART.num_classes)
    return worker.score(metrics, summed, [[i] for i in sorted(set(images))])


def test_scenarios_are_complete():
    detections = [len(worker.image(i)[0]["persons"]["classes"]) for i in range(4)]
    objects = [len(worker.image(i)[1]["persons"]["classes"]) for i in range(4)]
    assert detections == [5, 0, 5, 0]
    assert objects == [0, 4, 4, 0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_metrics_of_one(ranks, name):
    images = [i for batches in SCENARIOS[name] for batch in batches for i in batch]
    for stage, seen in enumerate((images, [*images, 20, 21], images)):
        first, second = ranks[0][name][stage], ranks[1][name][stage]
        assert first == second
        expected = alone(seen)
        if name == "padded_sampler":  # `ParsingMetric` sums the repeated image twice
            first, expected = first.rsplit("}, {", 1)[0], expected.rsplit("}, {", 1)[0]
        assert first == expected
