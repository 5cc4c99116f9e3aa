"""Measure the project beside what its users would otherwise run, in one run on the same files.

python scripts/bench.py data     samples a second of one loader process, and where the time goes
python scripts/bench.py aten     seconds a frame of ATEN and its baselines at the paper's size, by stage
"""

from __future__ import annotations

import sys
from importlib import import_module

from rich.console import Console

BENCHMARKS = ("data", "aten")


def main() -> None:
    """Run the benchmarks that are named."""
    names = sys.argv[1:]
    if not names or not set(names) <= set(BENCHMARKS):
        print(__doc__)
        sys.exit(bool(set(names) - {"-h", "--help"}))
    for name in names:
        for table in import_module(f"benchmarks.{name}").run():
            Console().print(table)


if __name__ == "__main__":
    main()
