import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from partwise.errors import InputError
from partwise.run.folder import RUN_ID, open_run


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    """Each test is the first process of its run."""
    monkeypatch.setenv(RUN_ID, "")


def opened(outputs, monkeypatch, resume=None, **facts):
    monkeypatch.setenv(RUN_ID, "")
    run = open_run(outputs, "some_vip", resume, "demo-synthetic")
    if facts:
        (run.folder / "config.yaml").write_text("name: some_vip")
        run.record(**facts)
    return run


def test_a_new_run_has_its_own_folder_named_by_its_traits(tmp_path, monkeypatch):
    first, second = opened(tmp_path, monkeypatch), opened(tmp_path, monkeypatch)
    assert first.folder != second.folder
    assert first.folder.parent == tmp_path / "some_vip"
    assert "demo-synthetic" in first.id
    assert not first.resumed


def test_further_processes_of_a_run_share_its_folder(tmp_path, monkeypatch):
    first = opened(tmp_path, monkeypatch)
    assert open_run(tmp_path, "some_vip", None, "demo-synthetic").folder != first.folder  # a multirun's next job
    first = opened(tmp_path, monkeypatch)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert open_run(tmp_path, "some_vip", None, "demo-synthetic").folder == first.folder


def test_auto_takes_the_newest_unfinished_training(tmp_path, monkeypatch):
    opened(tmp_path, monkeypatch, status="running", task="train")
    newest = opened(tmp_path, monkeypatch, status="running", task="train").folder
    opened(tmp_path, monkeypatch, status="finished", task="train")
    opened(tmp_path, monkeypatch, status="running", task="test")
    assert opened(tmp_path, monkeypatch, resume="auto").folder == newest


def test_auto_passes_over_what_a_process_works_on(tmp_path, monkeypatch, capsys):
    older = opened(tmp_path, monkeypatch, status="running", task="train").folder
    newest = opened(tmp_path, monkeypatch, status="running", task="train")  # still referred to: held
    first = opened(tmp_path, monkeypatch, resume="auto")
    assert (first.folder, first.resumed) == (older, True)
    second = opened(tmp_path, monkeypatch, resume="auto")
    assert second.folder not in (older, newest.folder)
    assert not second.resumed
    said = " ".join(capsys.readouterr().out.split())
    assert f"passing over {newest.folder}, which process {os.getpid()} on" in said
    with pytest.raises(InputError, match="in use by"):
        opened(tmp_path, monkeypatch, resume=newest.id)


@pytest.mark.parametrize(
    ("file", "text"),
    [("run.json", ""), ("config.yaml", "a: ["), ("config.yaml", "[]"), ("config.yaml", None), ("config.yaml", "\0")],
)
def test_auto_names_a_damaged_run_and_passes_it_over(file, text, tmp_path, monkeypatch, capsys):
    older = opened(tmp_path, monkeypatch, status="running", task="train").folder
    newest = opened(tmp_path, monkeypatch, status="running", task="train").folder
    (newest / file).unlink() if text is None else (newest / file).write_text(text)
    assert opened(tmp_path, monkeypatch, resume="auto").folder == older
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"warning: {newest} is passed over: {newest / file} ")


def test_ids_cannot_meet(tmp_path, monkeypatch):
    ids = [opened(tmp_path / str(n % 2), monkeypatch).id for n in range(20)]
    assert len(set(ids)) == 20
    assert ids == sorted(ids)  # the newest last


@pytest.mark.parametrize("outputs", ["/proc/out", "/dev/null", "/dev/null/out", "/proc/self"])
def test_outputs_that_cannot_be_written_are_one_line(outputs, monkeypatch):
    with pytest.raises(InputError, match=f"cannot write {outputs}.*name another folder"):
        opened(Path(outputs), monkeypatch)


def test_auto_starts_anew_where_nothing_is_unfinished(tmp_path, monkeypatch, capsys):
    done = opened(tmp_path, monkeypatch, status="finished", task="train")
    run = opened(tmp_path, monkeypatch, resume="auto")
    assert run.folder != done.folder
    assert not run.resumed
    assert "no unfinished run is free" in capsys.readouterr().out


def test_an_unknown_run_is_an_error_that_lists_the_latest(tmp_path, monkeypatch):
    known = opened(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=known.id):
        opened(tmp_path, monkeypatch, resume="20200101-000000")


def test_run_json_gathers_facts(tmp_path, monkeypatch):
    run = opened(tmp_path, monkeypatch, seed=3)
    run.record(status="running")
    assert json.loads((run.folder / "run.json").read_text()) == {"seed": 3, "status": "running"}


def test_the_seconds_of_all_starts_of_a_run_are_added(tmp_path, monkeypatch):
    for status, seconds in (("interrupted", 3.5), ("finished", 2.0)):
        run = opened(tmp_path, monkeypatch, "auto", task="train")
        replace(run, opened=run.opened - seconds).end(status)
        folder, run = run.folder, None  # nobody holds it
    about = json.loads((folder / "run.json").read_text())
    assert about["status"] == "finished"
    assert about["seconds"] == pytest.approx(5.5, abs=0.5)
