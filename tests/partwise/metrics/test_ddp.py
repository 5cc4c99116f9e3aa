import gloo_worker as worker
import pytest
from two_processes import SCENARIOS, in_both

from partwise.labels import PASCAL_PERSON_PART
from partwise.metrics.parts_and_persons import VIPMetrics

pytestmark = [pytest.mark.ddp, pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both processes measured."""
    return in_both(worker.__file__, tmp_path_factory.mktemp("gloo"))


def test_scenarios_are_complete():
    detections = [len(worker.image(i)[0]["persons"]["classes"]) for i in range(4)]
    objects = [len(worker.image(i)[1]["persons"]["classes"]) for i in range(4)]
    assert detections == [5, 0, 5, 0]
    assert objects == [0, 4, 4, 0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_processes_give_the_metrics_of_one(ranks, name):
    images = [i for batches in SCENARIOS[name] for batch in batches for i in batch]
    for stage, seen in enumerate((images, [*images, 20, 21], images)):
        alone = worker.score(VIPMetrics(PASCAL_PERSON_PART), [[i] for i in sorted(set(seen))])
        assert ranks[0][name][stage] == ranks[1][name][stage] == alone
