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


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_record_is_named(text, tmp_path):
    file = tmp_path / "run" / "run.json"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        run_json.find(tmp_path, "*")
