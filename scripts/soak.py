"""Kill tiny trainings at random moments, resume them, and compare their end with undisturbed ones, bit for bit.

python scripts/soak.py --minutes 30 [--seed 1] [--variant plain] [--folder DIR]

Every round trains one variant through `run.py`: it is killed (SIGKILL) behind random steps, and started again by the
same command with resume=auto until it ends by itself. The same command with the same folder goes on where it stopped.
Exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from partwise.checkpoints.loading import load
from partwise.errors import InputError
from partwise.io import run_json
from partwise.run.cli import one_line_errors

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    "experiment=fcn8s_facts", "image_size=[57,33]", "model.network.width=8", "model.network.backbone_multiplier=0.0625",
    "data.batch_size=2", "data.num_workers=1", "data.synthetic.tracklets={train:13,val:1,test:1}",
    "data.synthetic.size=[57,33]", "data.synthetic.frames_per_tracklet=12", "trainer.accelerator=cpu",
    "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1", "checkpoint_every=3",
    "+trainer.enable_model_summary=false", "trainer.enable_progress_bar=false",
)  # fmt: skip
VARIANTS = {
    "plain": (),
    "accumulated": ("trainer.accumulate_grad_batches=3",),
    "average": ("ema=0.9",),
    "processes": ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.num_workers=0"),
}
#: Entries of a checkpoint that decide how a training goes on; loops and callbacks hold paths and times, too.
COMPARED = (
    "state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "global_step", "epoch",
)  # fmt: skip
LONGEST = 900.0  # seconds of a single start
STEP, END = 0.3, 10.0  # seconds from a row to the kill at most; from the start, once all rows are there


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every variant in turn until the time is over, and exit with 1 if an end differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="begin no round after so long; 0: one round each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--variant", choices=VARIANTS, nargs="+", default=list(VARIANTS), help="default all, in turn")
    parser.add_argument("--kills", type=int, default=20, help="kills of a round at most (default 20)")
    parser.add_argument("--folder", type=Path, help="of the runs (default partwise-soak-SEED in the temporary folder)")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.gettempdir()) / f"partwise-soak-{options.seed}"
    end = time.monotonic() + 60 * options.minutes
    different = 0
    with one_line_errors():
        for number in range(sys.maxsize):
            if number and time.monotonic() > end:
                break
            for variant in options.variant:
                different += not play(folder.absolute(), variant, number, options.seed, options.kills)
    print(f"{number} rounds of {len(options.variant)} variants, {different} ends differ; runs in {folder}")
    sys.exit(bool(different))


def play(folder: Path, variant: str, number: int, seed: int, kills: int) -> bool:
    """Play a round, and print its kills and how it ended.

    Args:
        folder: of all runs.
        variant: key of `VARIANTS`.
        number: of the round.
        seed: of the moments.
        kills: at most.

    Returns:
        Whether the run ended as the undisturbed one.
    """
    whole = finish(variant, folder / variant / "whole")
    steps = rows(whole.parents[1])
    outputs, rng = folder / variant / str(number), random.Random(f"{seed} {variant} {number}")
    killed: list[int] = []
    while not ended(outputs) and len(killed) < kills:
        row = min(rows_of(outputs) + rng.randint(1, steps // 4), steps)
        if not kill(variant, outputs, row, rng.random() * (STEP if row < steps else END)):
            break
        killed.append(rows_of(outputs))
    found = list(differences(content(whole), content(finish(variant, outputs))))
    print(f"{variant} {number}: killed behind rows {killed} of {steps}, {'; '.join(found[:5]) or 'equal'}", flush=True)
    return not found


def kill(variant: str, outputs: Path, row: int, delay: float) -> bool:
    """Start a run, or go on with it, and kill it some time behind a row of metrics.csv.

    Args:
        variant: key of `VARIANTS`.
        outputs: where its run lies.
        row: number of the row.
        delay: seconds from the row to the kill.

    Returns:
        Whether it was killed; False if it ended before.
    """
    process = start(variant, outputs)
    try:
        before = time.monotonic()
        while process.poll() is None and rows_of(outputs) < row and time.monotonic() < before + LONGEST:
            time.sleep(0.02)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            return True
    finally:
        stop(process)
    return check(process, outputs)


def finish(variant: str, outputs: Path) -> Path:
    """Run to the end, if it has not ended yet, and return its last checkpoint."""
    if not ended(outputs):
        process = start(variant, outputs)
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"{outputs} takes more than {LONGEST:.0f} s; see shown.txt there") from error
        finally:
            stop(process)
        check(process, outputs)
    (run,) = ended(outputs)
    return run / "checkpoints" / "last.ckpt"


def start(variant: str, outputs: Path) -> subprocess.Popen[bytes]:
    """Start `run.py` in a group of processes of its own; what it prints goes to shown.txt."""
    outputs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PARTWISE_CACHE": str(outputs.parents[1] / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "run.py"), *TINY, *VARIANTS[variant], f"outputs={outputs}", "resume=auto"]
    with (outputs / "shown.txt").open("ab") as shown:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=shown, stderr=subprocess.STDOUT, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a run and its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check(process: subprocess.Popen[bytes], outputs: Path) -> bool:
    """Raise InputError if a run failed; return False, as it was not killed."""
    if process.returncode:
        raise InputError(f"run.py failed with status {process.returncode}; see {outputs / 'shown.txt'}")
    return False


def ended(outputs: Path) -> list[Path]:
    """Return the run that ended by itself, if there is one."""
    return list(run_json.find(outputs, "*/*", status="finished"))


def rows(run: Path) -> int:
    """Count the rows of a run's metrics.csv."""
    file = run / "metrics.csv"
    return max(0, file.read_bytes().count(b"\n") - 1) if file.is_file() else 0


def rows_of(outputs: Path) -> int:
    """Count the rows of the newest run."""
    return max((rows(file.parent) for file in outputs.glob("*/*/metrics.csv")), default=0)


def content(checkpoint: Path) -> dict[str, Any]:
    """Read what is compared of a checkpoint."""
    found = load(checkpoint)
    return {key: found[key] for key in COMPARED if key in found}


def differences(one: Any, two: Any, at: str = "") -> Iterator[str]:
    """Yield where two checkpoints differ.

    Args:
        one: containers, tensors and plain values.
        two: containers, tensors and plain values.
        at: keys that lead there.
    """
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        yield from (f"{at}.{key} is in one of them".lstrip(".") for key in sorted(one.keys() ^ two.keys(), key=str))
        for key in sorted(one.keys() & two.keys(), key=str):
            yield from differences(one[key], two[key], f"{at}.{key}".lstrip("."))
    elif isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        for number, pair in enumerate(zip(one, two, strict=True)):
            yield from differences(*pair, f"{at}.{number}")
    elif isinstance(one, Tensor) and isinstance(two, Tensor) and one.shape == two.shape:
        if not torch.equal(one, two):
            yield f"{at} differs by {(one - two).abs().max():.2g}"
    elif type(one) is not type(two) or one != two:
        yield f"{at}: {str(one)[:60]} became {str(two)[:60]}"


if __name__ == "__main__":
    main()
