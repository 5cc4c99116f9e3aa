import os

import pytest

from partwise.errors import InputError
from partwise.io import run_json
from partwise.io.atomic import write_json


def test_runs_are_found_by_what_they_recorded_the_newest_last(tmp_path):
    for name, status in (("b/2", "finished"), ("b/1", "finished"), ("b/3", "running"), ("c/d/1", "finished")):
        write_json(tmp_path / name / "run.json", {"status": status, "seed": 0})
    assert list(run_json.find(tmp_path / "b", "*", status="finished")) == [tmp_path / "b/1", tmp_path / "b/2"]
    assert run_json.find(tmp_path, "*/*", status="running") == {tmp_path / "b/3": {"status": "running", "seed": 0}}
    assert len(run_json.find(tmp_path, "**", seed=0)) == 4
    assert not run_json.find(tmp_path, "**", seed=0, task="train")
    assert not run_json.find(tmp_path / "missing", "*")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"\0" * 40])
def test_a_damaged_record_is_named_once_and_passed_over(content, tmp_path, capsys):
    write_json(tmp_path / "b" / "run.json", {"status": "running"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_bytes(content)
    (tmp_path / "c" / "run.json").mkdir(parents=True)
    for _ in range(2):
        assert list(run_json.find(tmp_path, "*", status="running")) == [tmp_path / "b"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" is passed over: ")[0] for line in said] == [f"warning: {tmp_path / name}" for name in "ac"]
    with pytest.raises(InputError, match=r"run\.json"):
        run_json.read(tmp_path / "a" / "run.json")


def test_names_that_are_not_unicode_come_back(tmp_path):
    record = {"root": os.fsdecode(b"/data/\xff\xfe"), os.fsdecode(b"\xe4"): 1}
    write_json(tmp_path / "run.json", record)
    assert run_json.read(tmp_path / "run.json") == record
    (tmp_path / "run.json").write_text(r'{"root": "\udcff", "loss": NaN}')
    with pytest.raises(InputError, match="no json"):
        run_json.read(tmp_path / "run.json")
