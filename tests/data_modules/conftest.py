import shutil
from pathlib import Path

import pytest

from partwise.errors import InputError


@pytest.fixture
def copy(stand_in, tmp_path):
    """The stand-in of a test's module, to be damaged."""
    return Path(shutil.copytree(stand_in, tmp_path / "copy"))


@pytest.fixture
def assert_refused():
    """Damages a copy and checks that reading it fails with one line that says what is wrong."""

    def check(fault, root, read):
        damage, message = fault
        damage(root)
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)

    return check
