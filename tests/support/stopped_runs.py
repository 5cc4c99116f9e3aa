"""Runs of `run.py` that are sent signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Started:
    """A running `run.py`.

    Args:
        arguments: of `run.py`.
        outputs: folder of its runs; also its working files lie there.
        prefix: program that starts Python, such as `prlimit`.
    """

    def __init__(self, arguments: Sequence[str], outputs: Path, prefix: Sequence[str] = ()) -> None:
        self.outputs = outputs
        outputs.mkdir(parents=True, exist_ok=True)
        self._shown = (outputs / "shown.txt").open("w+")
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(ROOT / "run.py"), *arguments, f"outputs={outputs}"],
            cwd=ROOT, stdout=self._shown, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, ready: Callable[[], Any], seconds: float = 120) -> None:
        """Wait until something is the case."""
        end = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, f"it ended too early:\n{self.text()}"
            assert time.monotonic() < end, f"nothing happened:\n{self.text()}"
            time.sleep(0.02)

    def send(self, name: str, *, to_all: bool = False) -> None:
        """Send a signal to the process, or to its whole group as a terminal and Slurm do."""
        number = getattr(signal, name)
        os.killpg(self.process.pid, number) if to_all else self.process.send_signal(number)

    def end(self, seconds: float = 120) -> tuple[int, str]:
        """Wait for its end; its exit status and what it printed."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        return self.process.returncode, self.text()

    def text(self) -> str:
        """What it has printed."""
        return Path(self._shown.name).read_text()

    def folder(self, experiment: str = "*") -> Path:
        """Folder of its only run."""
        (folder,) = self.outputs.glob(f"{experiment}/*/")
        return folder

    def status(self, experiment: str = "*") -> str:
        """What run.json says."""
        return str(json.loads((self.folder(experiment) / "run.json").read_text())["status"])

    def steps(self) -> int:
        """Number of training rows in metrics.csv."""
        files = list(self.outputs.glob("*/*/metrics.csv"))
        return len(files[0].read_text().splitlines()) - 1 if files else 0
