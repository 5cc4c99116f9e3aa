"""Human parsing in video: models, ops and metrics of five papers. `partwise.load` gives a parser of people."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partwise.predict.parser import load as load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from partwise.predict.parser import load  # imported late: it needs torch, which takes seconds

    return load
