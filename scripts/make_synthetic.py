"""Write the rendered stand-in in a dataset's native layout, to test any other program with.

python scripts/make_synthetic.py vip --out DIR --videos 6 [key=value ...]

Further parameters are those of the writer, for example size=[96,128] or severity=0.0.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from omegaconf import OmegaConf

import data_modules
import data_modules.synthetic.layouts as writers
from partwise.errors import InputError
from partwise.run.cli import one_line_errors


def layouts() -> list[str]:
    """Names of the layouts that can be written: the datasets with a module of writers."""
    names = ({module.name for module in iter_modules(package.__path__)} for package in (data_modules, writers))
    return sorted(set.intersection(*names))


def writer_of(layout: str) -> Callable[..., None]:
    """The writer of a layout."""
    if layout not in layouts():
        raise InputError(f"there is no layout {layout!r}; it is one of {', '.join(layouts())}")
    writer: Callable[..., None] = getattr(import_module(f"{writers.__name__}.{layout}"), f"write_{layout}")
    return writer


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", help=f"one of {', '.join(layouts())}")
    parser.add_argument("--out", type=Path, required=True, help="empty or new folder")
    parser.add_argument("--videos", type=int, default=6, help="videos, or pictures where there are none (default 6)")
    parser.add_argument("parameters", nargs="*", help="key=value of the writer")
    options = parser.parse_intermixed_args()
    with one_line_errors():
        write(writer_of(options.layout), options.out, options.videos, options.parameters)
    print(options.out)


def write(writer: Callable[..., None], out: Path, count: int, parameters: list[str]) -> None:
    """Call a writer on an empty folder, with the number of videos under the name that it has for them."""
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; name a new folder")
    known = inspect.signature(writer).parameters
    given: dict[str, Any] = OmegaConf.to_container(OmegaConf.from_dotlist(parameters))  # type: ignore[assignment]
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"{writer.__name__} has no parameter {unknown[0]!r}; it has {', '.join(list(known)[1:])}")
    amount = next(name for name in known if name != "root")  # every writer's first parameter says how many
    if amount not in given:
        many = "Mapping" in str(known[amount].annotation)
        splits = getattr(import_module(writer.__module__), "SPLITS", ("train", "val", "test"))
        given[amount] = _shares(count, splits) if many else count
    out.mkdir(parents=True, exist_ok=True)
    writer(out, **given)


def _shares(count: int, splits: Sequence[str]) -> dict[str, int]:
    """Videos of each split: about a sixth each for what is not training."""
    held_back = {split: max(1, count // 6) for split in splits if split != "train"}
    rest = max(1, count - sum(held_back.values()))
    return {split: held_back.get(split, rest) for split in splits}


if __name__ == "__main__":
    main()
