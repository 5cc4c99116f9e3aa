"""Draw metrics against the number of labelled samples, from the CSV of a sweep.

python scripts/plot_learning_curve.py outputs/sweeps/deeplab_ccp_photos/results.csv --out docs/ccp_learning_curve.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from partwise.errors import InputError
from partwise.io import atomic
from partwise.io.text import read_text
from partwise.run import cli

LINES = {"test/miou": "mIoU", "test/pixel_accuracy": "pixel accuracy", "test/fg_accuracy": "foreground accuracy"}


def main() -> None:
    """Read the rows, draw one line a metric, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="CSV of scripts/run_sweep.py")
    parser.add_argument("--x", default="data.train_photos", help="column of the horizontal axis")
    parser.add_argument("--label", default="training photos", help="its name")
    parser.add_argument("--title", default="", help="what was trained, on what, for how long")
    parser.add_argument("--out", type=Path, default=Path("learning_curve.png"), help="picture to write")
    options = parser.parse_args()
    with cli.one_line_errors():
        draw(options)


def draw(options: argparse.Namespace) -> None:
    """Draw and save; raise InputError if the file is missing or no table with the columns."""
    try:
        table = csv.DictReader(read_text(options.results).splitlines())
        rows = sorted(
            ({key: float(row[key]) for key in (options.x, *LINES)} for row in table), key=lambda row: row[options.x]
        )
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{options.results} is no table of {options.x} and {', '.join(LINES)} ({error!r})") from error
    counts = [row[options.x] for row in rows]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for key, name in LINES.items():
        values = [row[key] for row in rows]
        axes.plot(counts, values, "o-", label=name)
        for x, y in zip(counts, values, strict=True):
            axes.annotate(f"{y:.1f}", (x, y), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [f"{x:g}" for x in counts])
    axes.set(xlabel=options.label, ylabel="percent", ylim=(0, 118), title=options.title)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    with atomic.writing(options.out):
        figure.savefig(options.out, dpi=120)
    print(options.out)


if __name__ == "__main__":
    main()
