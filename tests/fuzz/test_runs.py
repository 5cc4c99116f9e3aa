"""Damaged files of runs: run.json, metrics.json, config.yaml, metrics.csv, sweeps, published metrics."""

import json
import shutil

import pytest
from mutations import altered_json, fuzz

from partwise.models.tcnet.history import started_from
from partwise.run.folder import open_run
from partwise.tables.grid import read_sweep
from partwise.tables.published import read_published
from partwise.tables.trained import find_runs

RECORD = {
    "experiment": "aten_davis", "task": "train", "profile": "paper", "seed": 0, "data": "real", "status": "finished",
    "started": "2026-01-01T00:00:00+00:00", "overrides": ["experiment=aten_davis", "ablation=[aten/l4]", "seed=1"],
}  # fmt: skip
CONFIG = {"data": {"_target_": "data_modules.davis.DAVISDataModule"}, "init": ["a.ckpt"]}
FILES = {"run.json": RECORD, "metrics.json": {"test/J_mean": 0.7, "test/none": None}, "config.yaml": CONFIG}
SWEEP = {
    "method": "grid", "metric": {"name": "test/miou", "goal": "maximize"},
    "parameters": {"experiment": {"value": "aten_vip"}, "seed": {"values": [0, 1]}, "ablation": {"values": [["a"]]}},
}  # fmt: skip
PUBLISHED = """table,row,metric,value,run,key,note
1,ATEN,"AP, 0.5",90.8,aten_vip,test/human_ap_50,
1,other,AP,,,,
"""


@pytest.fixture
def run(tmp_path):
    """Folder of a run that was not finished."""
    folder = tmp_path / "some" / "20260101-000000-demo"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_finished_run(name, run):
    fuzz(lambda file: find_runs([file.parent]), run / name, altered_json)


def test_the_record_of_a_run_to_be_resumed(run, monkeypatch):
    monkeypatch.setenv("PARTWISE_RUN_ID", "some")
    (run / "run.json").write_text(json.dumps({**RECORD, "status": "running"}))

    def resumed(file):
        opened = open_run(file.parents[2], "some", "auto", "demo")
        if not opened.resumed:
            shutil.rmtree(opened.folder)  # else every further search would find one more

    fuzz(resumed, run / "run.json", altered_json)


def test_the_settings_that_a_run_started_from(run):
    fuzz(lambda file: started_from(file.parent / "checkpoints/last.ckpt"), run / "config.yaml", altered_json)


def test_sweeps(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(json.dumps(SWEEP))
    fuzz(lambda file: read_sweep(file).cells(), file, altered_json)


def test_published_metrics(tmp_path):
    file = tmp_path / "aten.csv"
    file.write_text(PUBLISHED)
    fuzz(lambda file: read_published(file.parent), file)
