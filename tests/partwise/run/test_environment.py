import json

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
