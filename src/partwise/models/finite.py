"""Detection of losses that are not finite, without making the host wait for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from partwise.errors import InputError
from partwise.io.atomic import write_json


class _Step(NamedTuple):
    """The losses of a training step, copied to the CPU."""

    number: int
    names: list[str]
    values: Tensor  # (L,) on the CPU
    arrived: torch.Event | None  # None: values are on the CPU already
    sample_ids: Sequence[str]


class LossWatch:
    """Stops a training whose losses are no longer finite.

    Losses on a GPU are copied asynchronously and checked in the first step after they have arrived; those on a CPU are
    checked at once. Waiting for them in every step would leave the GPU idle while the next step is prepared.

    Attributes:
        latest: () sum of the losses checked last, on the CPU; None before the first check.
    """

    def __init__(self) -> None:
        self.latest: Tensor | None = None
        self._steps: deque[_Step] = deque()

    def add(self, number: int, losses: Mapping[str, Tensor], sample_ids: Sequence[str]) -> None:
        """Keep the losses of a step until they can be checked.

        Args:
            number: number of the step.
            losses: losses () by name.
            sample_ids: samples of the step's batch.
        """
        values, arrived = _to_host(torch.stack(list(losses.values())).detach().float())
        self._steps.append(_Step(number, list(losses), values, arrived, sample_ids))

    def check(self, folder: Path, wait: bool = False) -> None:
        """Check the losses that have arrived.

        Args:
            folder: folder of the run; `not_finite.json` is written there if a loss is not finite.
            wait: wait for the losses that have not arrived.

        Raises:
            InputError: a loss is not finite.
        """
        while self._steps:
            arrived = self._steps[0].arrived
            if arrived is not None and not arrived.query():
                if not wait:
                    return
                arrived.synchronize()
            step = self._steps.popleft()
            self.latest = step.values.sum()
            if not torch.isfinite(self.latest):
                self._steps.clear()
                raise _not_finite(step, folder)


def _to_host(values: Tensor) -> tuple[Tensor, torch.Event | None]:
    """Start copying values to the CPU; return the copy and the event that marks its arrival."""
    if values.device.type == "cpu":
        return values, None
    copied = values.to("cpu", non_blocking=True)
    arrived = torch.Event(values.device)
    arrived.record()
    return copied, arrived


def _not_finite(step: _Step, folder: Path) -> InputError:
    file = folder / "not_finite.json"
    values = dict(zip(step.names, step.values.tolist(), strict=True))
    write_json(file, {"step": step.number, "losses": {k: repr(v) for k, v in values.items()},
                      "sample_ids": list(step.sample_ids)})  # fmt: skip
    finite = torch.isfinite(step.values).tolist()
    bad = ", ".join(name for name, good in zip(step.names, finite, strict=True) if not good) or "sum"
    return InputError(
        f"loss {bad} is not finite at step {step.number}; its samples are listed in {file}: "
        "look at them, or lower model.optimizer.lr"
    )
