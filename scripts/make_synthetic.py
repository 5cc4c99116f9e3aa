"""Write the rendered stand-in in a dataset's native layout, to test any other program with.

python scripts/make_synthetic.py vip --out DIR --videos 6 [key=value ...]

Further parameters are those of the writer, for example size=[96,128] or severity=0.0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from omegaconf import OmegaConf

from data_modules.synthetic import layouts
from data_modules.synthetic.layouts.writer import Writer
from partwise.errors import InputError
from partwise.run.cli import one_line_errors


def find_writers() -> dict[str, type[Writer]]:
    """Find the writers in `data_modules.synthetic.layouts`, by the name of their layout."""
    modules = [import_module(f"{layouts.__name__}.{module.name}") for module in iter_modules(layouts.__path__)]
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    writers = [value for value in classes if issubclass(value, Writer) and hasattr(value, "name")]
    return {writer.name: writer for writer in sorted(writers, key=lambda writer: writer.name)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and write."""
    writers = find_writers()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", help=f"one of {', '.join(writers)}")
    parser.add_argument("--out", type=Path, required=True, help="empty or new folder")
    parser.add_argument("--videos", type=int, default=6, help="videos, or pictures where there are none (default 6)")
    parser.add_argument("parameters", nargs="*", help="key=value of the writer")
    options = parser.parse_intermixed_args(arguments)
    with one_line_errors():
        if options.layout not in writers:
            raise InputError(f"there is no layout {options.layout!r}; it is one of {', '.join(writers)}")
        write(writers[options.layout], options.out, options.videos, options.parameters)
    print(options.out)


def write(writer: type[Writer], out: Path, count: int, parameters: list[str]) -> None:
    """Write a stand-in into an empty folder.

    Args:
        writer: of the layout.
        out: empty or new folder.
        count: videos or pictures in all, unless `parameters` say how many.
        parameters: options of the writer as key=value.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; name a new folder")
    given: dict[str, Any] = OmegaConf.to_container(OmegaConf.from_dotlist(parameters))  # type: ignore[assignment]
    amount = _shares(count, writer.splits) if writer.splits else count
    ready = writer.of({writer.amount(): amount, **given})
    out.mkdir(parents=True, exist_ok=True)
    ready.write(out)


def _shares(count: int, splits: Sequence[str]) -> dict[str, int]:
    """Return the videos of each split: about a sixth each for what is not training."""
    held_back = {split: max(1, count // 6) for split in splits if split != "train"}
    rest = max(1, count - sum(held_back.values()))
    return {split: held_back.get(split, rest) for split in splits}


if __name__ == "__main__":
    main()
