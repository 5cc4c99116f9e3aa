"""Signals that ask a run to stop: Ctrl-C, SIGTERM, and SIGUSR1, by which Slurm warns before the time is over."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
ECHO = 0.5  # seconds in which a second Ctrl-C is the first again: a terminal and a starting process both deliver it


class Stopped(SystemExit):
    """Ends the process with the status of a signal, 128 plus its number.

    Args:
        number: of the signal.
        text: one line that says what is kept and how to go on.
    """

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(128 + number)
        self.number, self.signal = number, signal.Signals(number).name
        self.text = text or f"stopped by {self.signal}"


class Interruption:
    """Takes the signals of this process.

    Attributes:
        received: number of the first signal; 0 before.
        patient: whether a signal is only noted, because the training saves at its next step and then stops.
    """

    def __init__(self) -> None:
        self.received = 0
        self.patient = False
        self._at = 0.0
        self._owner = 0
        self._child: subprocess.Popen[bytes] | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the signals within the block; elsewhere than in the main thread, leave them alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.received, self.patient, self._owner = 0, False, os.getpid()
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if a signal was noted."""
        self.patient = False
        if self.received:
            raise Stopped(self.received)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command, which gets the signals of this process, to its end.

        Args:
            command: program and arguments.
            environment: its variables.

        Returns:
            Its exit status.

        Raises:
            Stopped: this process got a signal; the command has ended.
        """
        with subprocess.Popen(command, env=environment) as self._child:
            status = self._child.wait()
        self._child = None
        self.stop_if_asked()
        return status

    def _handle(self, number: int, frame: FrameType | None) -> Any:
        if os.getpid() != self._owner:  # a process of the data loader, which the training ends
            return
        first, now = not self.received, time.monotonic()
        again = number == signal.SIGINT and not first and now - self._at > ECHO
        if first:
            self.received, self._at = number, now
        if self._child is not None:
            self._child.send_signal(number)
        elif again or (first and not self.patient):
            raise Stopped(number)
        elif first and number == signal.SIGINT:  # written past Python's buffers, which may be locked now
            os.write(2, b"\nCtrl-C: stopping at the next step; once more stops at once\n")


interruption = Interruption()
