"""Stand-ins are rendered once and appear complete or not at all."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from data_modules.loading.cache import stand_in
from partwise.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PARTWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(root):
    (root / "data.txt").write_text("whole")


def test_a_stand_in_is_written_once(folder):
    first = stand_in("demo", {"number": 5}, write)
    assert stand_in("demo", {"number": 5}, lambda root: pytest.fail("it is there")) == first
    assert (first / "data.txt").read_text() == "whole"
    assert [p.name for p in folder.iterdir()] == [first.name]
    assert first.name.startswith("demo-v")


def test_content_makes_the_name(folder):
    one = stand_in("demo", {"size": (2, 3), "videos": {"val": 1, "train": 2}}, write)
    assert stand_in("demo", {"videos": {"train": 2, "val": 1}, "size": [2, 3]}, write) == one
    assert stand_in("demo", {"videos": {"train": 2, "val": 2}, "size": [2, 3]}, write) != one


def test_what_fails_leaves_nothing(folder):
    def write_broken(root):
        (root / "half.txt").write_text("half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        stand_in("broken", {}, write_broken)
    assert list(folder.iterdir()) == []


def test_two_at_once(folder):
    together = Barrier(2)

    def write_slow(root):
        together.wait(timeout=10)
        write(root)

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: stand_in("slow", {}, write_slow), range(2))
    assert first == second
    assert (first / "data.txt").read_text() == "whole"
    assert len(list(folder.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch):
    monkeypatch.setenv("PARTWISE_CACHE", "/proc/x")
    with pytest.raises(InputError, match="cannot write /proc/x, which PARTWISE_CACHE names"):
        stand_in("demo", {}, write)
