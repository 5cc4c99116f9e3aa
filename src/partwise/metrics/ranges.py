"""The check that labels and ids lie in their range."""

from __future__ import annotations

from torch import Tensor


def check_range(labels: Tensor, name: str, count: int) -> None:
    """Check that labels are integers in 0..count - 1; there may be none.

    Args:
        labels: (...) classes or ids.
        name: what they are, named in the message.
        count: number of labels that are allowed.

    Raises:
        ValueError: the type is not an integer one, or a label lies outside.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name} must hold integer labels, not {labels.dtype}")
    if labels.numel():
        low, high = (int(x) for x in labels.aminmax())
        if low < 0 or high >= count:
            raise ValueError(f"label {low if low < 0 else high} in {name} is out of range 0..{count - 1}")
