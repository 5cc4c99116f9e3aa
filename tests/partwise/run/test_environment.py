import json
import shutil
import subprocess
from pathlib import Path

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


@pytest.mark.parametrize("tracked", [True, False])
def test_the_commit_is_that_of_the_repository_that_holds_the_code(tracked, tmp_path, monkeypatch):
    file = tmp_path / ".venv" / "environment.py"
    file.parent.mkdir()
    shutil.copy(environment.__file__, file)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "thesis.txt").touch()
    commands = (["init", "-q"], ["add", str(file) if tracked else "thesis.txt"], ["commit", "-qm", "x"])
    for command in commands:
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(environment, "__file__", str(file))
    assert environment.snapshot()["git"]["sha"] == (head if tracked else None)


def test_the_commit_is_not_that_of_the_folder_a_run_starts_in(tmp_path, monkeypatch):
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    monkeypatch.chdir(tmp_path)
    root = Path(environment.__file__).parent
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    if not head:
        pytest.skip("the code lies in no repository")
    assert environment.snapshot()["git"]["sha"] == head
