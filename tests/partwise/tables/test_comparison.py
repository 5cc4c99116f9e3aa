import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from partwise.errors import InputError
from partwise.tables import comparison, published, trained

ROOT = Path(__file__).resolve().parents[3]
RECORDS = published.read_published(ROOT / "experiments" / "published")


def leave_run(folder, metrics, experiment="aten_davis", module="davis.DAVISDataModule", **facts):
    folder.mkdir(parents=True)
    record = {
        "experiment": experiment, "task": "train", "profile": "paper", "seed": 0, "data": "real",
        "started": "2026-01-01T00:00:00+00:00", "overrides": [], "status": "finished", **facts,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.yaml").write_text(f"data:\n  _target_: data_modules.{module}\n")


def compared(folder, row="ATEN(l=3)", metric="J Mean", paper="aten", table="2", tolerance=1.0):
    chosen = [r for r in published.select(RECORDS, paper, table) if (r.row, r.metric) == (row, metric)]
    return comparison.compare(chosen, trained.find_runs([folder]), tolerance)


def test_fractions_stand_beside_percent(tmp_path):
    leave_run(tmp_path / "deep" / "cell" / "run", {"test/J_mean": 0.703})
    (found,) = compared(tmp_path)
    assert found.ours == pytest.approx(70.3)
    assert found[3:] == (1, -1.0, "reproduced", "real")
    (found,) = compared(tmp_path, tolerance=0.9)
    assert found.verdict == "different"


def test_percent_stays_percent(tmp_path):
    leave_run(tmp_path / "run", {"test/human_authors_ap_50": 80.0}, "aten_vip", "vip.VIPDataModule")
    (found,) = compared(tmp_path, "ATEN", "human AP^r 0.5", table="1")
    assert (found.ours, found.difference, found.verdict) == (80.0, pytest.approx(-10.8), "different")


def test_fractions_of_a_paper_that_prints_fractions(tmp_path):
    leave_run(tmp_path / "run", {"test/AP": 0.6}, "self", "coco_persons.COCOPersonsDataModule")
    (record,) = (r for r in RECORDS if r[:4] == ("self_supervised", "2", "Ours, Resnet50", "AP"))
    (found,) = comparison.compare([record._replace(run="self@coco_persons")], trained.find_runs([tmp_path]))
    assert (found.ours, found.difference, found.verdict) == (pytest.approx(0.6), pytest.approx(-2.6), "different")


@pytest.mark.parametrize(
    ("facts", "about"),
    [
        ({"data": "synthetic"}, "synthetic, not comparable"),
        ({"profile": "demo"}, "real, demo profile"),
        ({"data": "synthetic", "profile": "demo"}, "synthetic, not comparable, demo profile"),
        ({"overrides": None}, "real, overrides not recorded"),
    ],
)
def test_what_cannot_be_judged_is_shown_only_where_nothing_else_is(tmp_path, facts, about):
    leave_run(tmp_path / "run", {"test/J_mean": 0.713}, **facts)
    (found,) = compared(tmp_path)
    assert found.ours == pytest.approx(71.3)
    assert found[4:] == (None, "not run", about)
    leave_run(tmp_path / "other", {"test/J_mean": 0.5})
    (found,) = compared(tmp_path)
    assert (found.ours, found.verdict) == (50.0, "different")


def test_seeds_are_averaged_each_once(tmp_path):
    for seed, value in enumerate((0.70, 0.71, 0.72)):
        leave_run(
            tmp_path / str(seed),
            {"test/J_mean": value},
            seed=seed,
            overrides=[
                f"seed={seed}",
                "data.root='/a'",
                "data.num_workers=2",
                "callbacks.best=null",
                "roots.flying_chairs='/b'",
                "trainer.enable_progress_bar=false",
            ],
        )
    leave_run(tmp_path / "again", {"test/J_mean": 0.73}, seed=2, started="2026-01-02T00:00:00+00:00")
    (found,) = compared(tmp_path)
    assert (found.runs, found.verdict) == (3, "reproduced")
    assert found.ours == pytest.approx((70 + 71 + 73) / 3)
    assert found.deviation == pytest.approx(statistics.stdev((70, 71, 73)))
    console = Console(width=200, record=True)
    console.print(comparison.comparison_table([found]))
    assert "71.33 ± 1.53, n=3" in console.export_text()


def test_runs_with_further_overrides_stand_apart(tmp_path):
    leave_run(tmp_path / "a", {"test/J_mean": 0.713}, overrides=["data.root=/a"])
    leave_run(tmp_path / "b", {"test/J_mean": 0.5}, seed=1, overrides=["image_size=[64,64]", "trainer.devices=4"])
    assert [(c.runs, c.verdict, c.data) for c in compared(tmp_path)] == [
        (1, "reproduced", "real"), (1, "different", "real, image_size=[64,64]"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "table", "row"),
    [
        ([], "2", "ATEN(l=3)"),
        (["ablation=aten/l3"], "2", "ATEN(l=3)"),
        (["ablation=aten/l4"], "2", "ATEN(l=4)"),
        (["ablation=[aten/no_gru,aten/l4]"], "3", "ATEN(w/o convGRU)"),
    ],
)
def test_ablations_find_their_rows(tmp_path, overrides, table, row):
    leave_run(tmp_path / "run", {"test/J_mean": 0.7}, overrides=overrides)
    shown = comparison.compare(published.select(RECORDS, "aten", None), trained.find_runs([tmp_path]))
    found = {(c.record.table, c.record.row) for c in shown if c.ours is not None}
    assert found == {(table, row)} | ({("3", "ATEN")} if row == "ATEN(l=4)" else set())


def test_data_tell_runs_of_one_experiment_apart(tmp_path):
    for name in ("Indoor", "ILIDS"):
        leave_run(tmp_path / name, {"test/avg_f1": 55.0}, "deeplab_v2_facts", f"facts.{name}DataModule")
    shown = comparison.compare(published.select(RECORDS, "tcnet", None), trained.find_runs([tmp_path]))
    assert [(c.record.table, c.record.row) for c in shown if c.ours is not None] == [("2", "DeepLab")]


def test_another_dataset_than_the_experiments_own_is_no_reproduction(tmp_path):
    leave_run(tmp_path / "run", {"test/miou": 37.9}, "aten_vip", "cihp.CIHPDataModule", overrides=["data=cihp"])
    runs = trained.find_runs([tmp_path])
    assert {c.verdict for c in comparison.compare(RECORDS, runs)} == {"not run", ""}
    assert comparison.unplaced(RECORDS, runs) == ["aten_vip@cihp"]


def test_metrics_that_a_run_lacks(tmp_path):
    leave_run(tmp_path / "run", {"test/J_mean": None})
    (found,) = compared(tmp_path)
    assert found[1:] == (None, None, 0, None, "not run", "real, no test/J_mean in metrics.json")


def test_cells_without_a_published_metric_have_no_verdict(tmp_path):
    leave_run(tmp_path / "run", {"test/f1_bag": 40.0}, "tcnet_daily", "facts.DailyDataModule")
    (found,) = compared(tmp_path, "TCNet l+s+c+uf", "bag", "tcnet", "9")
    assert found[1:] == (40.0, None, 1, None, "", "real")
    (found,) = compared(tmp_path, "EM-Adapt", "bag", "tcnet", "9")
    assert found.verdict == ""


def test_unfinished_runs_and_runs_that_only_score_are_left_out(tmp_path):
    leave_run(tmp_path / "a", {"test/J_mean": 0.1}, status="running")
    leave_run(tmp_path / "b", {"test/J_mean": 0.1}, task="test")
    with pytest.raises(InputError, match="no finished training run"):
        trained.find_runs([tmp_path])
    leave_run(tmp_path / "c", {"test/J_mean": 0.7})
    assert len(trained.find_runs([tmp_path, tmp_path / "c"])) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", '{"status": "finished", "task": "train"}'),
        ("metrics.json", '{"test/J_mean": "x"}'),
        ("config.yaml", "data: ["),
        ("config.yaml", "data: {root: null}"),
        ("config.yaml", None),
    ],
)
def test_damaged_runs_are_named(tmp_path, file, text):
    leave_run(tmp_path / "broken", {"test/J_mean": 0.7})
    (tmp_path / "broken" / file).unlink() if text is None else (tmp_path / "broken" / file).write_text(text)
    with pytest.raises(InputError, match="broken"):
        trained.find_runs([tmp_path])


def test_a_tolerance_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="tolerance"):
        comparison.compare(RECORDS, [], float("nan"))


def command(*arguments):
    call = [sys.executable, "scripts/compare_to_paper.py", *map(str, arguments)]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.process
def test_command_prints_and_writes(tmp_path):
    leave_run(tmp_path / "runs" / "run", {"test/J_mean": 0.7})
    leave_run(tmp_path / "runs" / "demo", {"test/miou": 9.0}, "aten_vip", "vip.VIPDataModule", profile="demo")
    done = command(tmp_path / "runs", "--paper", "aten", "--csv", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert "demo profile" in done.stdout
    assert "0 reproduced, 1 different, " in done.stdout
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == sum(r.paper == "aten" for r in RECORDS)
    (row,) = (row for row in rows if row["verdict"] == "different")
    assert row == {
        "paper": "aten", "table": "2", "row": "ATEN(l=3)", "metric": "J Mean", "published": "71.3", "ours": "70.0000",
        "difference": "-1.3000", "verdict": "different", "data": "real", "deviation": "", "runs": "1",
    }  # fmt: skip


@pytest.mark.process
def test_command_answers_mistakes_in_one_line(tmp_path):
    done = command(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
