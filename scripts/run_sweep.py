"""Run a grid of experiments on this machine: one process a cell, finished cells skipped, failed ones retried.

    python scripts/run_sweep.py experiments/sweeps/NAME.yaml [--outputs DIR] [--jobs N] [key=value ...]
    python scripts/run_sweep.py NAME ...

Relative paths are relative to the current folder, wherever that is; a name without suffix is a file of
experiments/sweeps. The same files can be given to `wandb sweep`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from partwise.run import cli
from partwise.tables import comparison, published, sweeps, trained

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "experiments" / "published"


def main() -> None:
    """Run the cells, write results.csv, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="grid in Weights & Biases' format, by file or name")
    parser.add_argument("--outputs", type=Path, help="folder of the cells (default outputs/sweeps/NAME)")
    parser.add_argument("--jobs", type=int, default=1, help="cells beside each other (default 1)")
    parser.add_argument("--metrics", nargs="+", default=[], help="further keys of metrics.json for the table")
    arguments, overrides = parser.parse_known_args()
    with cli.one_line_errors():
        named = arguments.sweep
        sweep = sweeps.read_sweep(named if named.suffix else ROOT / "experiments" / "sweeps" / f"{named}.yaml")
        outputs = (arguments.outputs or Path("outputs") / "sweeps" / sweep.name).absolute()
        overrides = [override for override in overrides if override != "--"]
        failed = sweeps.run_sweep(sweep, ROOT / "run.py", outputs, overrides, arguments.jobs)
        sweeps.write_csv(sweep, outputs, outputs / "results.csv")
        metrics = [sweep.metric, *arguments.metrics]
        Console().print(
            sweeps.summary_table(
                sweep, outputs, metrics, f"{sweep.name}, mean ± sd over repetitions, fractions in percent"
            )
        )
        Console().print(f"metrics  {outputs / 'results.csv'}", markup=False)
        if len(failed) < len(sweep.cells()) and sweep.fixed.get("task", "train") == "train":
            beside = comparison.compare(published.read_published(PUBLISHED), trained.find_runs([outputs]))
            if shown := [c for c in beside if c.data]:
                Console().print(comparison.comparison_table(shown))
        if failed:
            sys.exit(f"{len(failed)} cells failed: {', '.join(failed)}; the same command tries them again")


if __name__ == "__main__":
    main()
