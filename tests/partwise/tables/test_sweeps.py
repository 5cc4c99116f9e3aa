import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from partwise.errors import InputError
from partwise.tables import sweeps

ROOT = Path(__file__).resolve().parents[3]
GRID = """
method: grid
metric: {name: test/miou, goal: maximize}
parameters:
  experiment: {value: deeplab_ccp}
  trainer.max_epochs: {value: 1}
  model.network.feature.width: {values: [8, 16]}
  seed: {values: [0, 1, 2]}
"""


@pytest.fixture
def sweep(tmp_path):
    file = tmp_path / "widths.yaml"
    file.write_text(GRID)
    return sweeps.read_sweep(file)


def leave_run(folder, status, **metrics):
    run = folder / "deeplab_ccp" / f"run-{status}"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"status": status, "data": "synthetic"}))
    (run / "metrics.json").write_text(json.dumps(metrics))


def test_cells_are_all_combinations(sweep):
    assert sweep.name == "widths"
    assert sweep.fixed == {"experiment": "deeplab_ccp", "trainer.max_epochs": 1}
    names = [sweeps.cell_name(cell) for cell in sweep.cells()]
    assert names == [f"width={w},seed={s}" for w in (8, 16) for s in (0, 1, 2)]


def test_cell_names_are_file_names():
    assert sweeps.cell_name({"ablation": "aten/no gru", "data.size": [3, 4]}) == "ablation=aten_no_gru,size=_3,_4_"


def test_only_finished_runs_count(sweep, tmp_path):
    cells = sweep.cells()
    leave_run(tmp_path / sweeps.cell_name(cells[0]), "running", **{"test/miou": 1.0})
    leave_run(tmp_path / sweeps.cell_name(cells[1]), "finished", **{"test/miou": 20.0, "test_majority/miou": 5.0})
    leave_run(tmp_path / sweeps.cell_name(cells[2]), "finished", **{"test/miou": 30.0})
    assert [cell for cell, _ in sweeps.collect(sweep, tmp_path)] == cells[1:3]
    sweeps.write_csv(sweep, tmp_path, tmp_path / "results.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert rows[0] == {"model.network.feature.width": "8", "seed": "1", "data": "synthetic", "test/miou": "20.0"}
    shown = io.StringIO()
    Console(width=120, file=shown).print(sweeps.summary_table(sweep, tmp_path, ["test/miou"], "widths"))
    text = shown.getvalue()
    assert "25.0 ± 7.1" in text
    assert "synthetic" in text


@pytest.mark.parametrize("written", ["'[aten/l4,aten/no_gru]'", "[aten/l4, aten/no_gru]"])
def test_lists_of_ablations_are_shown_as_they_are(written, tmp_path):
    file = tmp_path / "components.yaml"
    file.write_text(GRID.split("parameters:")[0] + f"parameters: {{ablation: {{values: [{written}, aten/l4]}}}}")
    sweep = sweeps.read_sweep(file)
    for cell in sweep.cells():
        leave_run(tmp_path / sweeps.cell_name(cell), "finished", **{"test/miou": 20.0})
    shown = io.StringIO()
    Console(width=120, file=shown).print(sweeps.summary_table(sweep, tmp_path, ["test/miou"], "components"))
    assert "[aten/l4,aten/no_gru]" in shown.getvalue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: bayes", "only grid"),
        ("method: grid", "no grid of Weights & Biases"),
        ("a: [", "no grid"),
        (None, "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    file = tmp_path / "sweep.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        sweeps.read_sweep(file)


SMALL = ["data.synthetic.photos=10", "data.batch_size=4", "data.num_workers=0", "trainer.limit_train_batches=1"]


def run_sweep(*arguments, cwd):
    command = [sys.executable, str(ROOT / "scripts" / "run_sweep.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.process
def test_a_sweep_runs_in_the_folder_that_it_is_started_from(tmp_path):
    (tmp_path / "one.yaml").write_text(GRID.replace("[0, 1, 2]", "[0]").replace("[8, 16]", "[8]"))
    done = run_sweep("one.yaml", *SMALL, "image_size=[64,48]", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = tmp_path / "outputs" / "sweeps" / "one"
    (record,) = cells.rglob("run.json")
    assert json.loads(record.read_text())["git"]["sha"]  # the code's, though this folder is no repository
    assert len(list(csv.DictReader((cells / "results.csv").open()))) == 1
    assert {file.name for file in tmp_path.iterdir()} == {"one.yaml", "outputs"}


@pytest.mark.process
def test_a_sweep_is_found_by_its_name(tmp_path):
    name = "aten_vip_offsets"
    for number, cell in enumerate(sweeps.read_sweep(ROOT / "experiments" / "sweeps" / f"{name}.yaml").cells()):
        leave_run(tmp_path / "cells" / sweeps.cell_name(cell), "finished", **{"test/miou": 30.0 + number})
    done = run_sweep(name, "--outputs", "cells", cwd=tmp_path)
    assert "31.0 ± 1.0" in done.stdout, done.stderr
    missing = run_sweep("nonsense", cwd=tmp_path)
    assert missing.stderr.startswith("error: ")
    assert f"{Path('sweeps') / 'nonsense.yaml'} cannot be read" in missing.stderr


@pytest.mark.slow
def test_a_sweep_resumes_and_reports(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(GRID.replace("[0, 1, 2]", "[0]"))
    command = [str(file), "--outputs", str(tmp_path / "cells"), *SMALL]
    done = run_sweep(*command, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    before = sorted((tmp_path / "cells").rglob("run.json"))
    assert len(before) == 2
    rows = list(csv.DictReader((tmp_path / "cells" / "results.csv").open()))
    assert [row["model.network.feature.width"] for row in rows] == ["8", "16"]
    again = run_sweep(*command, cwd=ROOT)
    assert again.returncode == 0
    assert sorted((tmp_path / "cells").rglob("run.json")) == before
