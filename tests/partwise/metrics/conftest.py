import pytest
from two_processes import in_both


@pytest.fixture(scope="module")
def ranks(request, tmp_path_factory):
    """What `scores` of a test's module measures of its SCENARIOS in each of two processes."""
    return in_both(request.module.scores, request.module.SCENARIOS, tmp_path_factory.mktemp("gloo"))
