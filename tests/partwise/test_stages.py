"""Earlier stages of training: found where they were finished, run where they are missing."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from partwise.errors import InputError
from partwise.stages import finish

#: Stands for run.py: leaves a finished run as it would, or an unfinished one.
PROGRAM = """
import json, sys
from pathlib import Path
given = dict(a.split("=", 1) for a in sys.argv[1:])
base = Path(given["outputs"]) / given["experiment"]
folder = base / f"run{len(list(base.glob('*')))}"
(folder / "checkpoints").mkdir(parents=True)
(folder / "checkpoints/last.ckpt").write_text(" ".join(sys.argv[1:]))
status = "finished" if given["experiment"] != "fails" else "running"
record = {"status": status, "task": "train", "data": "synthetic", "overrides": sys.argv[1:]}
(folder / "run.json").write_text(json.dumps(record))
sys.exit(status != "finished")
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    (tmp_path / "run.py").write_text(PROGRAM)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "run.py")])


def test_each_stage_runs_once_from_the_one_before(tmp_path):
    stages, given = ["chairs", "refined data=outdoor"], ["experiment=tcnet", "seed=3", "model.lr=1"]
    (checkpoint,) = finish(stages, given, tmp_path, synthetic=True)
    first = next((tmp_path / "chairs").glob("*")) / "checkpoints/last.ckpt"
    made = (tmp_path / "refined/run0/checkpoints/last.ckpt").read_text()
    assert checkpoint == str(tmp_path / "refined/run0/checkpoints/last.ckpt")
    assert {"data=outdoor", "seed=3", f"init=['{first}']"} <= set(made.split())
    assert "model.lr=1" not in made  # of the run itself
    assert finish(stages, given, tmp_path, synthetic=True) == [checkpoint]
    assert len(list((tmp_path / "refined").glob("*"))) == 1


def test_another_seed_or_profile_is_another_stage(tmp_path):
    a, b, c = (finish(["chairs"], given, tmp_path, synthetic=True) for given in ([], ["seed=1"], ["profile=paper"]))
    assert len({*a, *b, *c}) == 3


def test_runs_beside_each_other_share_a_stage(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: finish(["chairs"], [], tmp_path / "stages", synthetic=True), range(4)))
    assert len({checkpoint for (checkpoint,) in found}) == 1
    assert len(list((tmp_path / "stages/chairs").glob("*"))) == 1


def test_no_stages_leave_nothing_to_start_from(tmp_path):
    assert finish([], [], tmp_path, synthetic=True) == []


def test_real_data_ask_for_the_stage(tmp_path):
    with pytest.raises(InputError, match=r"experiment=chairs profile=paper data\.root=DIR"):
        finish(["chairs"], ["profile=paper"], tmp_path, synthetic=False)


def test_a_stage_that_fails_is_named(tmp_path):
    with pytest.raises(InputError, match=r"stage 1 failed: .*experiment=fails"):
        finish(["fails"], [], tmp_path, synthetic=True)


def test_stages_on_real_data_are_not_taken_for_synthetic_ones(tmp_path):
    finish(["chairs"], [], tmp_path, synthetic=True)
    file = tmp_path / "chairs/run0/run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "data": "real"}))
    finish(["chairs"], [], tmp_path, synthetic=True)
    assert len(list((tmp_path / "chairs").glob("*"))) == 2
