"""Ranges of the config's values, checked before anything is built from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from partwise.errors import InputError


@dataclass(frozen=True)
class Range:
    """What a value may be.

    Args:
        text: what is allowed, said after "must be".
        holds: whether a value is allowed.
    """

    text: str
    holds: Callable[[Any], bool]

    def __or__(self, other: Range) -> Range:
        """Allow what either allows."""
        return Range(f"{self.text} or {other.text}", lambda value: self.holds(value) or other.holds(value))


def integer(low: int, high: int | None = None) -> Range:
    """Allow integers from `low` up to `high`, which is included."""
    text = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    return Range(text, lambda v: _is_integer(v) and low <= v and (high is None or v <= high))


def number(low: float, high: float = math.inf, open_low: bool = False, open_high: bool = False) -> Range:
    """Allow finite numbers from `low` to `high`; an open end is not included."""
    ends = f"{'above' if open_low else 'of at least'} {low:g}"
    ends += "" if high == math.inf else f" and {'below' if open_high else 'at most'} {high:g}"

    def holds(value: Any) -> bool:
        if not (_is_integer(value) or isinstance(value, float)) or not math.isfinite(value):
            return False
        return bool((low < value if open_low else low <= value) and (value < high if open_high else value <= high))

    return Range(f"a number {ends}", holds)


def choice(*values: Any) -> Range:
    """Allow some values; true is not 1."""
    return Range(
        f"one of {', '.join(dict.fromkeys(map(str, values)))}",
        lambda v: any(v == c and type(v) is type(c) for c in values),
    )


def sequence(of: Range, least: int = 0, most: int | None = None) -> Range:
    """Allow lists of `least` to `most` values that all are in a range."""
    size = f"{least} values" if least == most else "values"

    def holds(value: Any) -> bool:
        fits = isinstance(value, Sequence) and not isinstance(value, str)
        return fits and len(value) >= least and (most is None or len(value) <= most) and all(map(of.holds, value))

    return Range(f"a list of {size} that each are {of.text}", holds)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


FLAG = Range("true or false", lambda v: isinstance(v, bool))
NOTHING = Range("null", lambda v: v is None)
TEXT = Range("a text", lambda v: isinstance(v, str) and v != "")
COUNT = integer(1)
SIDE = integer(16, 16_384)
SIZE = Range("a side in pixels from 16 to 16384, or [height,width]", (SIDE | sequence(SIDE, 2, 2)).holds)
FRACTION = number(0, 1)
POSITIVE = number(0, open_low=True)
EPOCHS = sequence(integer(0))
DEVICES = Range(
    "a number of devices of at least 1, -1 for all, auto, or a list of devices' numbers",
    lambda v: v in (-1, "-1", "auto") or COUNT.holds(v) or sequence(integer(0), 1).holds(v) or _are_numbers(v),
)
PRECISIONS = (
    "32-true",
    "bf16-mixed",
    "16-mixed",
    "64-true",
    "bf16-true",
    "16-true",
    "32",
    "16",
    "64",
    "bf16",
    32,
    16,
    64,
)


def _are_numbers(value: Any) -> bool:
    """Whether a text is a list of numbers such as "0,2"."""
    return isinstance(value, str) and all(part.strip().isdigit() for part in value.split(","))


#: What the values may be, by key; an asterisk stands for any part of a key. The first that fits counts.
RANGES: Mapping[str, Range] = {
    "seed": integer(0, 2**32 - 1),
    "image_size": SIZE,
    "num_classes": integer(2, 255),
    "monitor_mode": choice("max", "min"),
    "profile": choice("demo", "paper"),
    "ema": number(0, 1, open_low=True, open_high=True) | NOTHING,
    "compile": FLAG,
    "channels_last": FLAG,
    "scale_search": FLAG,
    "checkpoint_every": COUNT,
    "init": sequence(TEXT),
    "outputs": TEXT,
    "stages_in": TEXT,
    "testing.views.scales": sequence(number(0, 8, open_low=True), 1),
    "testing.views.flip": FLAG,
    "testing.size": SIZE | NOTHING,
    "testing.smoothing": number(0, 1, open_high=True),
    "trainer.accelerator": choice("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.devices": DEVICES,
    "trainer.max_epochs": integer(-1),
    "trainer.max_steps": COUNT | choice(-1),
    "trainer.limit_train_batches": COUNT | number(0, 1, open_low=True) | NOTHING,
    "trainer.limit_*_batches": integer(0) | FRACTION | NOTHING,
    "trainer.precision": choice(*PRECISIONS),
    "trainer.gradient_clip_val": POSITIVE | NOTHING,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.check_val_every_n_epoch": COUNT,
    "trainer.log_every_n_steps": integer(0),
    "trainer.num_sanity_val_steps": integer(-1),
    "trainer.deterministic": FLAG | choice("warn") | NOTHING,
    "trainer.benchmark": FLAG,
    "trainer.enable_progress_bar": FLAG,
    "data.batch_size": COUNT,
    "data.num_workers": integer(0, 1024),
    "data.seed": integer(0, 2**32 - 1),
    "data.flip": FRACTION,
    "data.image_size": SIZE,
    "data.crop": SIZE | NOTHING,
    "data.offsets": sequence(COUNT),
    "data.around.interval": COUNT,
    "data.around.past": integer(0),
    "data.around.reach": integer(0),
    "data.around.offset": integer(0) | NOTHING,
    "data.synthetic.seed": integer(0, 2**32 - 1),
    "data.synthetic.severity": FRACTION,
    "data.synthetic.size": sequence(SIDE, 2, 2),
    "data.synthetic.release": integer(2016, 2017),
    "data.synthetic.videos.*": integer(0),
    "data.synthetic.sequences.*": integer(0),
    "data.synthetic.tracklets.*": integer(0),
    "data.synthetic.pairs.*": integer(0),
    "data.synthetic.photos": COUNT,
    "data.synthetic.videos": COUNT,
    "data.synthetic.shapes": COUNT,
    "data.synthetic.step": COUNT,
    "data.synthetic.annotate_every": COUNT,
    "data.synthetic.frames_per_*": COUNT,
    "model.optimizer.lr": POSITIVE,
    "model.optimizer.weight_decay": number(0),
    "model.optimizer.momentum": number(0, 1, open_high=True),
    "model.schedule.milestones": EPOCHS,
    "model.schedule.gamma": POSITIVE,
    "model.schedule.epochs": COUNT | choice(-1),
    "model.schedule.power": number(0),
    "model.schedule.warmup": number(0, 1, open_high=True),
    "model.bias_rate": number(0),
    "model.rates.*": number(0),
    "model.stretch": FLAG,
    "model.network.*multiplier": POSITIVE,
    "model.network.*key_interval": COUNT,
    "model.network.*encoding_range": integer(0),
    "model.network.*reach": integer(0),
    "model.network.*num_classes": integer(2, 255),
    "model.network.*image_size": SIZE,
    "model.network.*channels": COUNT,
    "model.network.*box_width": COUNT,
    "model.network.*rois": COUNT,
    "model.network.*proposals": COUNT,
    "model.network.*displacement": COUNT,
    "model.network.*fusion_layers": COUNT,
    "model.network.*.norm": FLAG,
    "model.network.*lovasz": number(0),
    "model.network.*frame_loss": number(0),
    "model.network.*.width": POSITIVE,
    "model.network.width": POSITIVE,
}


def check_ranges(config: Mapping[str, Any]) -> None:
    """Check every value of a config that has a range.

    Args:
        config: composed config in plain containers.

    Raises:
        InputError: a value is out of its range.
    """
    for key, value in sorted(_values(config), key=lambda item: item[0].count(".")):  # before what refers to them
        allowed = next((rule for pattern, rule in RANGES.items() if fnmatchcase(key, pattern)), None)
        if allowed is not None and not allowed.holds(value):
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
            raise InputError(f"{key}={shown} must be {allowed.text}")


def _values(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
