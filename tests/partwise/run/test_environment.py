import json
import shutil
import subprocess

import pytest

from partwise.run import environment


def test_what_is_not_there_is_null_in_a_record_and_a_fault_where_it_is_needed(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setenv("PATH", "")
    snapshot = environment.snapshot()
    assert snapshot["versions"]["no-such-package"] is None
    assert snapshot["host"]["ffmpeg"] is None
    assert snapshot["git"] == {"sha": None, "uncommitted_changes": None}
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert list(environment.faults()) == ["no-such-package is not installed; run `uv sync`"]


def repository(folder, *files):
    """Make a repository with a commit of the files, and return the commit."""
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", *map(str, files)], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The code's file below the folder "own", in which a text lies too."""
    file = tmp_path / "own/.venv/environment.py"
    file.parent.mkdir(parents=True)
    shutil.copy(environment.__file__, file)
    (tmp_path / "own/thesis.txt").touch()
    monkeypatch.setattr(environment, "__file__", str(file))
    return file


@pytest.mark.parametrize("tracked", [True, False])
def test_the_commit_is_that_of_the_repository_that_holds_the_code(tracked, code, tmp_path):
    head = repository(tmp_path / "own", code if tracked else "thesis.txt")
    assert environment.snapshot()["git"]["sha"] == (head if tracked else None)


def test_the_commit_is_not_that_of_the_folder_a_run_starts_in(code, tmp_path, monkeypatch):
    head = repository(tmp_path / "own", code)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/data.txt").write_text("data")
    assert repository(tmp_path / "other", "data.txt") != head
    monkeypatch.chdir(tmp_path / "other")
    assert environment.snapshot()["git"]["sha"] == head
