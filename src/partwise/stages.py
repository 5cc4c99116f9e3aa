"""Training in stages: an experiment's earlier stages are experiments of their own, which are run where missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from partwise.errors import InputError

#: Overrides that a stage shares with the run it is for; it has other data and another model.
SHARED = ("profile=", "seed=", "logger", "trainer=", "trainer.accelerator=", "trainer.devices=",
          "trainer.precision=", "data.num_workers=")  # fmt: skip


def finish(stages: Sequence[str], overrides: Sequence[str], outputs: Path, synthetic: bool) -> list[str]:
    """Checkpoints of the last stage; those that no finished run has are run first, each from the one before it.

    Runs that share `outputs` take turns: what one of them trains, the next finds.

    Args:
        stages: experiment and overrides of each, as on a command line.
        overrides: of the run that the stages are for.
        outputs: where the stages' run folders lie.
        synthetic: whether the run trains on a stand-in; its stages then do too.

    Raises:
        InputError: a stage is missing and cannot be run from here, or failed.
    """
    if not stages:
        return []
    outputs.mkdir(parents=True, exist_ok=True)
    with FileLock(outputs / ".stages.lock"):
        return _finish(stages, [o for o in overrides if o.startswith(SHARED)], outputs, synthetic)


def _finish(stages: Sequence[str], shared: Sequence[str], outputs: Path, synthetic: bool) -> list[str]:
    init: list[str] = []
    for number, stage in enumerate(stages, 1):
        experiment, *own = stage.split()
        own += shared
        found = _finished(outputs / experiment, own, init, synthetic)
        if found is None:
            command = [sys.argv[0], f"experiment={experiment}", *own, *_init(init)]
            if not synthetic:
                raise InputError(
                    f"stage {number} of {len(stages)} is missing and needs its own data: run `python "
                    f"{' '.join(command)} data.root=DIR` first, or give its checkpoint with init=[FILE]"
                )
            if int(os.environ.get("WORLD_SIZE", 1)) > 1:
                raise InputError(f"stage {number} of {len(stages)} is missing: run `python {' '.join(command)}` first")
            print(f"stage {number} of {len(stages) + 1}: {' '.join(command[1:])}", flush=True)
            environment = {k: v for k, v in os.environ.items() if not k.startswith("PARTWISE_")}
            done = subprocess.run([sys.executable, *command, f"outputs={outputs}", "resume=auto"], env=environment)
            found = _finished(outputs / experiment, own, init, synthetic)
            if done.returncode or found is None:
                raise InputError(f"stage {number} failed: `python {' '.join(command)}`; see {outputs / experiment}")
        init = [str(found)]
    return init


def _init(paths: Sequence[str]) -> list[str]:
    return [f"init=['{path}']" for path in paths]


def _finished(base: Path, overrides: Sequence[str], init: Sequence[str], synthetic: bool) -> Path | None:
    """The last checkpoint of the newest finished run with these overrides and no others that count."""
    wanted, origin = {*overrides, *_init(init)}, "synthetic" if synthetic else "real"
    for file in sorted(base.glob("*/run.json"), reverse=True):
        record = json.loads(file.read_text())
        if [record.get(key) for key in ("status", "task", "data")] != ["finished", "train", origin]:
            continue
        made = {o for o in record["overrides"] if not o.startswith(("experiment=", "resume=", "outputs="))}
        checkpoint = file.parent / "checkpoints" / "last.ckpt"
        if made == wanted and checkpoint.is_file():
            return checkpoint
    return None
