import errno
import os
import signal
import sys
from pathlib import Path

import pytest
from commands import run_py
from composing import EXPERIMENTS
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from partwise.errors import InputError
from partwise.run import cli
from partwise.run.signals import Stopped

AWKWARD = ["a=b", "with space", "[x]", "{y}", "a,b", "it's", 'say "hi"', "~/here", "${home}", "back\\slash", "end\\",
           "\\'", "#5", "a:b", "100%", "é", "null", "true", "*.png", "$x", "\\${x}"]  # fmt: skip


def read_back(argument):
    """The value as Hydra parses it and OmegaConf resolves it."""
    override = OverridesParser.create().parse_override(argument)
    return OmegaConf.create({override.key_or_group: override.value()}).input


@pytest.mark.parametrize("value", AWKWARD)
def test_paths_of_any_characters_survive_hydra(value):
    assert read_back(f"input={cli.quoted(value)}") == os.path.expanduser(value)


@given(st.text(alphabet="ab\\'\"${}[]=, ~#:%*()", min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_paths_of_random_awkward_characters_survive_hydra(value):
    assert read_back(f"input={cli.quoted(value)}") == os.path.expanduser(value)


def test_unknown_experiment_suggests_a_known_one(monkeypatch):
    monkeypatch.setenv("PARTWISE_PREPARED", "")  # and is unset again after the test
    with pytest.raises(InputError, match="parsing_rcnn_vip"):
        cli.prepare(["experiment=parsing_rcn_vip"], EXPERIMENTS)


@pytest.mark.parametrize("arg", ["ablation=null", "logger=null", "+callbacks=null", "model/encoder@x.encoder=null"])
def test_null_for_a_group_is_refused(arg, monkeypatch):
    monkeypatch.setenv(cli.PREPARED, "")  # and is unset again after the test
    with pytest.raises(InputError, match=r"leave .* out"):
        cli.prepare(["experiment=aten_vip", arg], EXPERIMENTS)


def test_null_for_a_value_is_not_refused(monkeypatch):
    monkeypatch.setenv(cli.PREPARED, "")  # and is unset again after the test
    given = ["experiment=aten_vip", "resume=null", "callbacks.best=null", "data.root=null"]
    assert cli.prepare(given, EXPERIMENTS) == given


def test_ctrl_c_is_told_once(capsys):
    with pytest.raises(SystemExit) as left, cli.one_line_errors(), cli.one_line_errors():
        raise KeyboardInterrupt
    assert left.value.code == 130
    assert capsys.readouterr().err == "\nstopped by SIGINT\n"


def test_what_a_signal_stopped_is_told_once_with_its_status(capsys):
    with pytest.raises(SystemExit) as left, cli.one_line_errors(), cli.one_line_errors():
        raise Stopped(signal.SIGTERM, "stopped at step 3 by SIGTERM")
    assert left.value.code == 143
    assert capsys.readouterr().err == "stopped at step 3 by SIGTERM\n"


def test_a_full_disk_is_one_line(capsys):
    with pytest.raises(SystemExit) as left, cli.one_line_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.csv")
    assert left.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told == "error: cannot write metrics.csv (No space left on device); free some space or name another folder\n"


def test_other_exits_stay_as_they_are(capsys):
    with pytest.raises(SystemExit) as left, cli.one_line_errors():
        sys.exit(3)
    assert left.value.code == 3
    assert not capsys.readouterr().err


def defect():
    raise ZeroDivisionError("division\nby zero")


@pytest.mark.parametrize("known", [True, False])
def test_a_defect_is_one_line_and_its_traceback_is_kept(known, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    with pytest.raises(SystemExit) as left, cli.one_line_errors(log=lambda: log if known else None):
        defect()
    assert left.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("error: ZeroDivisionError: division by zero; its traceback is in ")
    kept = log if known else next(file for file in tmp_path.iterdir() if file != log)
    assert f"in {kept}, and PARTWISE_DEBUG=1 shows it" in told
    assert "in defect\n" in kept.read_text()
    assert kept.read_text().startswith("before" if known else "Traceback")


def test_debugging_shows_the_traceback_of_a_defect(monkeypatch):
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(ZeroDivisionError), cli.one_line_errors():
        defect()


def test_a_log_that_cannot_be_written_hides_no_defect(capsys):
    with pytest.raises(SystemExit), cli.one_line_errors(log=lambda: Path("/proc/none/log.txt")):
        defect()
    assert (
        capsys.readouterr().err == "error: ZeroDivisionError: division by zero; PARTWISE_DEBUG=1 shows the traceback\n"
    )


def test_options_may_stand_between_overrides(monkeypatch):
    monkeypatch.setenv(cli.PREPARED, "")  # and is unset again after the test
    given = ["seed=1", "--config-dir", "mine", "experiment=aten_vip", "-cn=config", "~data.augment", "+ema=0.9"]
    assert cli.prepare(given, EXPERIMENTS) == [
        "--config-dir", "mine", "-cn=config", "seed=1", "experiment=aten_vip", "~data.augment", "+ema=0.9",
    ]  # fmt: skip


@pytest.mark.process
def test_a_metric_that_is_not_there_to_watch_is_one_line(vip_stand_in, tmp_path):
    parts = ["model/heads@model.network.heads=parts", "model.metrics.instances=false", "image_size=64"]
    small = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.check_val_every_n_epoch=1"]
    done = run_py("experiment=parsing_rcnn_vip", *parts, *small, f"data.root={vip_stand_in}", f"outputs={tmp_path}",
                  "data.num_workers=0", "data.batch_size=2", "trainer.accelerator=cpu", status=1)  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "monitor='val/part_ap_vol'" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.process
def test_bare_command_lists_the_experiments():
    shown = run_py()
    for name, about in cli.experiments(EXPERIMENTS).items():
        assert name in shown.stdout
        assert about
        assert about in shown.stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["experiment=nonsense"], ["nonsense", "parsing_rcnn_vip"]),
        (["experiment=parsing_rcnn_vip", "data.root=/no/such/folder"], ["/no/such/folder", "data.root"]),
        (["experiment=parsing_rcnn_vip", "task=fly"], ["fly", "predict"]),
        (["experiment=parsing_rcnn_vip", "trainer.epochs=3"], ["epochs"]),
        (["experiment=parsing_rcnn_vip", "trainer=tpu"], ["tpu"]),
        (["task=predict", "ckpt=/no/such.ckpt", "input=x.jpg"], ["/no/such.ckpt"]),
        (["task=predict"], ["ckpt=PATH"]),
        (["experiment=parsing_rcnn_vip", "task=test"], ["ckpt=PATH"]),
        (["-m", "experiment=parsing_rcnn_vip", "seed=0,1", "trainer.devices=2"], ["multirun", "every rank"]),
        (["experiment=parsing_rcnn_vip", "resume=20200101-000000"], ["20200101-000000"]),
        (["experiment=parsing_rcnn_vip", "+callbacks.mine={_target_: no.Such}"], ["no.Such", "callbacks.mine"]),
        (["experiment=parsing_rcnn_vip", "+logger.mine={_target_: builtins.dict}"], ["logger.mine", "dict", "Logger"]),
    ],
    ids=lambda v: v[-1] if isinstance(v, list) else None,
)
def test_mistakes_get_one_line_and_status_1(arguments, words, tmp_path):
    shown = run_py(*arguments, f"outputs={tmp_path}", status=1)
    assert "Traceback" not in shown.stderr
    (line,) = [row for row in shown.stderr.splitlines() if row.startswith("error: ")]
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/out/best.ckpt"), "cannot write /out/best.ckpt (No space"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot write a file (Read-only"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "DataLoader worker (pid 12) is"),
        (RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"), "DataLoader worker (pid(s) 12) exited"),
        (
            RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nTraceback:\n  File x\n"
                         "RuntimeError: unable to allocate shared memory(shm) for file: No space left (28)\n"),
            "unable to allocate shared memory(shm)",
        ),
    ],
)  # fmt: skip
def test_what_the_machine_lacks_is_one_line(error, line):
    said = cli.explain(error)
    assert said.startswith(line)
    assert "\n" not in said


@pytest.mark.parametrize(
    "error", [RuntimeError("Caught RuntimeError in DataLoader worker process 0."), OSError(errno.EIO, "fault")]
)
def test_a_defect_in_a_worker_keeps_its_traceback(error):
    assert cli.explain(error) is None
