"""Draw docs/stand_in_contact_sheet.png: six clips of the stand-in, five frames each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_modules.synthetic.render.sheet import write_contact_sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    docs = Path(__file__).resolve().parents[1] / "docs"
    parser.add_argument("--out", type=Path, default=docs / "stand_in_contact_sheet.png", help="PNG to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 9, 24], help="clips, one row each")
    parser.add_argument("--severity", type=float, default=0.5, help="of the corruption, 0 to 1")
    options = parser.parse_args(arguments)
    write_contact_sheet(options.out, seeds=options.seeds, severity=options.severity)
    print(options.out)


if __name__ == "__main__":
    main()
