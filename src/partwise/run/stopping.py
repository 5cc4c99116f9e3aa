"""What a run says and records when a signal stops it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partwise.checkpoints.loading import load
from partwise.predict.output import summary
from partwise.run.folder import Run, is_first
from partwise.run.signals import Stopped


@contextmanager
def run_stops(run: Run, training: bool, kept: str = "nothing is scored") -> Iterator[None]:
    """Record in run.json that a signal stopped a run, and say how it goes on.

    Args:
        run: that the block trains or scores.
        training: whether it trains.
        kept: what is left of a run that does not.
    """
    try:
        yield
    except Stopped as stop:
        if is_first():
            run.end("interrupted")
            stop.text = _of_training(run, stop.signal) if training else f"stopped by {stop.signal}: {kept}"
        else:  # the first process says it; another status than 0 makes Lightning kill that one
            stop.code, stop.text = 0, ""
        raise


def _of_training(run: Run, name: str) -> str:
    if not run.last.is_file():
        return f"stopped by {name} before the first checkpoint; the same command starts anew"
    return f"stopped at step {load(run.last)['global_step']} by {name}; the same command with resume=auto goes on"


@contextmanager
def prediction_stops(output: Path) -> Iterator[None]:
    """Say what a prediction that a signal stops has finished.

    Args:
        output: folder of its results.
    """
    try:
        yield
    except Stopped as stop:
        begun = not summary(output).get("finished", True)  # else they are an earlier prediction's, or none
        finished = begun and len(list((output / "parts").glob("*.png")))
        kept = f"{finished} frames are finished in {output}" if finished else "no frame is finished"
        stop.text = f"stopped by {stop.signal}: {kept}; the same command starts over"
        raise
