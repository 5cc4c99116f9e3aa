"""Set finished runs beside the metrics that the five papers print: reproduced, different, or not run.

    python scripts/compare_to_paper.py outputs/aten_vip
    python scripts/compare_to_paper.py outputs/sweeps/aten_davis_components --paper aten --table 3 --csv out.csv

A folder is a run's own or holds runs at any depth. Metrics of several seeds are averaged. A run counts only on real
data with profile=paper; others are shown, marked and never judged. Differences are in points of percent, ours minus
the paper's. The papers' metrics lie in experiments/published, whose README explains them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console

from partwise.run import cli
from partwise.tables import comparison, published, trained

PUBLISHED = Path(__file__).resolve().parents[1] / "experiments" / "published"


def main() -> None:
    """Read metrics and runs, compare, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="RUN_OR_SWEEP_FOLDER", help="where runs lie")
    parser.add_argument("--paper", help="only this one: aten, instance_crf, pose_transfer, self_supervised or tcnet")
    parser.add_argument("--table", help="only this table, by its number in the paper")
    parser.add_argument("--tolerance", type=float, default=1.0, help="points that count as reproduced (default 1)")
    parser.add_argument("--csv", type=Path, help="file for all chosen metrics, with and without a run")
    parser.add_argument("--all", action="store_true", help="print metrics without a run too")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    with cli.one_line_errors():
        records = published.read_published(PUBLISHED)
        chosen = published.select(records, options.paper, options.table)
        runs = trained.find_runs(options.folders)
        comparisons = comparison.compare(chosen, runs, options.tolerance)
        if options.csv is not None:
            comparison.write_csv(options.csv, comparisons)
        console.print(comparison.comparison_table([c for c in comparisons if options.all or c.data]))
        counts = Counter(c.verdict for c in comparisons if c.verdict)
        console.print(", ".join(f"{counts[verdict]} {verdict}" for verdict in comparison.VERDICTS))
        for name in comparison.unplaced(records, runs):
            console.print(f"in no paper's table: {name}", markup=False)
        if options.csv is not None:
            console.print(f"metrics  {options.csv}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
