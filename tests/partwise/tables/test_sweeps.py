import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from partwise.errors import InputError
from partwise.tables import grid, sweeps

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
    return grid.read_sweep(file)


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
    name = sweeps.cell_name({"ablation": "aten/no gru", "data.size": [3, 4]})
    assert re.fullmatch(r"ablation=aten_no_gru,size=_3,_4_-[0-9a-f]{8}", name)
    assert len(sweeps.cell_name({"init": ["/scratch/outputs/best.ckpt"] * 40})) == sweeps.LONGEST + 9
    assert sweeps.cell_name({}) == "only"


def test_cells_with_other_values_have_other_names():
    cells = [
        *({"data.root": root} for root in ("/in/folder/ok", "/in/folder_ok", "/in/folder ok", "/in/földer/ok", "a")),
        *({"data.root": "/in/" + 200 * "a" + end} for end in "ab"),
        *({"a.x": x, "b.x": y} for x, y in (("1,x=2", "3"), ("1", "2,x=3"), ("1", "2"))),
    ]
    names = {sweeps.cell_name(cell) for cell in cells}
    assert len(names) == len(cells)
    assert all(len(name.encode()) < 128 for name in names)


def test_a_folder_named_by_an_earlier_release_counts_for_its_own_cell_alone(tmp_path):
    folder = tmp_path / "ablation=tcnet_l"
    leave_run(folder, "finished", **{"test/miou": 20.0})
    record = next(folder.rglob("run.json"))
    record.write_text(json.dumps({"status": "finished", "data": "real", "overrides": ["ablation=tcnet/l", "seed=0"]}))
    assert sweeps.place(tmp_path, {"ablation": "tcnet/l"}) == folder
    assert sweeps.place(tmp_path, {"ablation": "tcnet l"}) != folder
    assert sweeps.place(tmp_path, {"ablation": "tcnet/s"}).name.startswith("ablation=tcnet_s-")


@pytest.mark.parametrize("content", ["", "[]", '{"test/miou": "much"}', None])
def test_a_cell_whose_metrics_cannot_be_read_is_named_and_not_finished(content, tmp_path, capsys):
    leave_run(tmp_path, "finished", **{"test/miou": 20.0})
    (metrics,) = tmp_path.rglob("metrics.json")
    metrics.unlink() if content is None else metrics.write_text(content)
    assert sweeps.finished(tmp_path) is None
    assert capsys.readouterr().err.startswith(f"warning: {metrics.parent} is passed over: ")


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
    sweep = grid.read_sweep(file)
    for cell in sweep.cells():
        leave_run(tmp_path / sweeps.cell_name(cell), "finished", **{"test/miou": 20.0})
    shown = io.StringIO()
    Console(width=120, file=shown).print(sweeps.summary_table(sweep, tmp_path, ["test/miou"], "components"))
    assert "[aten/l4,aten/no_gru]" in shown.getvalue()


PARAMETERS = "method: grid\nmetric: {name: test/miou}\nparameters: "


def read(tmp_path, parameters):
    file = tmp_path / "sweep.yaml"
    file.write_text(PARAMETERS + parameters)
    return grid.read_sweep(file)


def test_values_of_every_kind_are_written_as_hydra_reads_them(tmp_path):
    sweep = read(
        tmp_path,
        "{views: {values: [{scales: [1.0, 0.5], flip: false, name: 'a, b''s'}, null]}, init: {values: [[a/b, null]]},"
        " model: {parameters: {width: {values: [8]}, net: {parameters: {deep: {value: true}}}}},"
        " ablation: {distribution: categorical, values: [a/b, '[a,b]']}, seed: {distribution: constant, value: 3}}",
    )
    assert sweep.fixed == {"model.net.deep": True, "seed": 3}
    assert list(sweep.grid) == ["views", "init", "model.width", "ablation"]
    parser = OverridesParser.create()
    values = [[parser.parse_override(f"a={grid.override(v)}").value() for v in of] for of in sweep.grid.values()]
    assert values == [
        [{"scales": [1.0, 0.5], "flip": False, "name": "a, b's"}, None],
        [["a/b", None]], [8], ["a/b", ["a", "b"]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("{seed: {distribution: int_uniform, min: 0, max: 3}}", "parameter seed has max, min, which a grid does not"),
        ("{seed: {min: 0, max: 3, values: [0]}}", "parameter seed has max, min, which a grid does not"),
        ("{seed: {values: [0], distribution: normal}}", "parameter seed has a distribution"),
        ("{seed: {values: [0, 1], probabilities: [0.5, 0.5]}}", "parameter seed has probabilities"),
        ("{model: {parameters: {lr: {min: 0}}}}", r"parameter model\.lr has min"),
        ("{seed: {values: 3}}", "values of parameter seed are 3"),
        ("{seed: {values: []}}", "values of parameter seed are"),
        ("{seed: {values: [1, 1]}}", "seed has the value 1 twice"),
        ("{seed: {values: [1], value: 1}}", "parameter seed is"),
        ("{seed: 3}", "parameter seed is 3"),
        ("[seed]", "no grid"),
        ("[" * 3000, "no grid"),
    ],
)
def test_what_a_grid_cannot_run_is_refused_by_its_parameter(parameters, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path, parameters)


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
        grid.read_sweep(file)


SMALL = [
    "data.synthetic.photos=10",
    "data.splits={train: train, val: val}",
    "data.batch_size=4",
    "data.num_workers=0",
    "trainer.limit_train_batches=1",
]


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
    for number, cell in enumerate(grid.read_sweep(ROOT / "experiments" / "sweeps" / f"{name}.yaml").cells()):
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
