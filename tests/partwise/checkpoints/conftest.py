import pytest
import tiny_checkpoint


@pytest.fixture(scope="module")
def content():
    """A whole checkpoint of a tiny parser."""
    return tiny_checkpoint.make()
