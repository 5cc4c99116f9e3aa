"""Measure the project beside what its users would otherwise run, in one run on the same files.

python scripts/bench.py data     samples a second of one loader process, and where the time goes
python scripts/bench.py vip      figures of VIP from files, beside the released scripts' way
python scripts/bench.py davis    J and F from files, beside vos-benchmark and the official steps
python scripts/bench.py coco     COCO AP from files, beside pycocotools and faster-coco-eval
python scripts/bench.py aten     seconds a frame of ATEN and its baselines at the paper's size, by stage
python scripts/bench.py tcnet    milliseconds a frame of TCNet as a stream beside DeepLab's; the correlation layer
python scripts/bench.py gpu      time and memory of a training step and a frame on a GPU; takes options, see --help

Some peers come with `uv sync --extra bench`; without them their rows are left out.
"""

from __future__ import annotations

import sys
from importlib import import_module

from rich.console import Console

BENCHMARKS = ("data", "vip", "davis", "coco", "aten", "tcnet", "gpu")


def main() -> None:
    """Run the benchmarks that are named."""
    names = sys.argv[1:]
    if names[:1] == ["gpu"]:
        import_module("benchmarks.gpu").run(names[1:])
        return
    if not names or not set(names) <= set(BENCHMARKS):
        print(__doc__)
        sys.exit(bool(set(names) - {"-h", "--help"}))
    for name in names:
        for table in import_module(f"benchmarks.{name}").run():
            Console().print(table)


if __name__ == "__main__":
    main()
