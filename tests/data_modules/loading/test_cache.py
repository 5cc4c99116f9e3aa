"""Stand-ins are rendered once and appear complete or not at all."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from data_modules.loading.cache import stand_in


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def written():
    return []


@pytest.fixture
def write_demo(written):
    def write_demo(root, *, number=1, size=(2, 3), workers=None):
        written.append(number)
        (root / "data.txt").write_text(f"{number} {list(size)}")

    return write_demo


def test_a_stand_in_is_written_once(write_demo, written, folder):
    first = stand_in(write_demo, number=5)
    assert stand_in(write_demo, number=5) == first
    assert written == [5]
    assert (first / "data.txt").read_text() == "5 [2, 3]"
    assert [p.name for p in folder.iterdir()] == [first.name]
    assert first.name.startswith("demo-v")


def test_parameters_make_the_name_and_how_it_is_written_does_not(write_demo):
    assert stand_in(write_demo) == stand_in(write_demo, number=1, size=[2, 3], workers=2)
    assert stand_in(write_demo) != stand_in(write_demo, number=2)


def test_what_fails_leaves_nothing(folder):
    def write_broken(root):
        (root / "half.txt").write_text("half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        stand_in(write_broken)
    assert list(folder.iterdir()) == []


def test_two_at_once(folder):
    together = Barrier(2)

    def write_slow(root):
        together.wait(timeout=10)
        (root / "data.txt").write_text("whole")

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: stand_in(write_slow), range(2))
    assert first == second
    assert (first / "data.txt").read_text() == "whole"
    assert len(list(folder.iterdir())) == 1
