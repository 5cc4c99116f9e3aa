"""Measure the project beside what its users would otherwise run, in one run on the same files.

python scripts/bench.py data     samples a second of one loader process, and where the time goes
python scripts/bench.py vip      metrics of VIP from files, beside the released scripts' way
python scripts/bench.py davis    J and F from files, beside vos-benchmark and the official steps
python scripts/bench.py coco     COCO AP from files, beside pycocotools and faster-coco-eval
python scripts/bench.py pose     priors of poses: neighbours and morphing, beside plain loops and the release's way
python scripts/bench.py tpr      the search that corrects flow by masks, beside plain loops
python scripts/bench.py aten     seconds a frame of ATEN and its baselines at the paper's size, by stage
python scripts/bench.py tcnet    milliseconds a frame of TCNet as a stream beside DeepLab's; the correlation layer
python scripts/bench.py crf      mean field of the dense CRF, beside pydensecrf and an unfolded window
python scripts/bench.py gbsr     matching of people's joints as graphs, beside a loop over joints
python scripts/bench.py gpu      time and memory of a training step and a frame on a GPU; takes options, see --help

aten, tcnet, crf and gbsr take --device: cpu, cuda, or auto (a GPU if there is one, the default). Some peers come with
`uv sync --extra bench`; without them their rows are left out.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from rich.console import Console

from partwise.errors import InputError
from partwise.run import cli

BENCHMARKS = ("data", "vip", "davis", "coco", "pose", "tpr", "aten", "tcnet", "crf", "gbsr")

#: Those that run a network, on any device.
ON_DEVICE = ("aten", "tcnet", "crf", "gbsr")


def main() -> None:
    """Run the benchmarks that are named."""
    if sys.argv[1:2] == ["gpu"]:  # which has options of its own
        import_module("benchmarks.gpu").run(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=BENCHMARKS, metavar="NAME", help="what to measure")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where networks run")
    options = parser.parse_args()
    with cli.one_line_errors():
        if options.device is not None and (without := set(options.names) - set(ON_DEVICE)):
            raise InputError(f"{' '.join(sorted(without))} runs no network; leave --device out")
        for name in options.names:
            benchmark = import_module(f"benchmarks.{name}")
            if name in ON_DEVICE:
                from partwise.run.devices import device  # which imports torch; not every benchmark needs it

                tables = benchmark.run(device(options.device or "auto"))
            else:
                tables = benchmark.run()
            for table in tables:
                Console().print(table)


if __name__ == "__main__":
    main()
