"""Examine data or the environment; one line a fault, exit status 1 if there is any. Notes are no faults.

python scripts/doctor.py data=vip data.root=DIR      read every file of a dataset
python scripts/doctor.py env                         versions, torch and torchvision, GPU
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from partwise.errors import InputError
from partwise.run import cli, environment

ROOT = Path(__file__).resolve().parents[1] / "experiments"
console = Console()


def examine_environment() -> list[str]:
    """Print versions and return what will not work."""
    for name, found in environment.versions().items():
        console.print(f"{name:<24} {escape(found or 'none')}", highlight=False)
    return list(environment.faults())


def examine_data(arguments: list[str]) -> list[str]:
    """Print what a dataset's splits hold and return what is wrong with it.

    Args:
        arguments: Hydra's overrides, `data=NAME` among them.
    """
    # Imported where they are used, as they bring torch and Lightning along: help should come at once.
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from data_modules import doctor
    from partwise.run.folder import origin

    with initialize_config_dir(str(ROOT), version_base="1.3"):
        cfg = compose("config", overrides=[f"experiment={cli.FROM_CHECKPOINT}", *map(cli.quoted_override, arguments)])
    data = instantiate(cfg.data)
    with Progress(console=console, transient=True) as progress:
        bars: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        result = doctor.examine(data, workers=min(8, os.cpu_count() or 1), progress=advance)
    console.print(f"{type(data).__name__}, {origin(data.synthetic)}")
    table = Table("split", "found")
    for stage, counts in result.counts.items():
        table.add_row(stage, ", ".join(f"{number} {unit}" for unit, number in counts.items()))
    console.print(table)
    if data.published:
        console.print(f"published: {doctor.spelled_out(data.published)}", soft_wrap=True)
    for note in result.notes:
        print(f"note: {note}")
    seen = result.classes.total()
    for index, name in enumerate(data.label_set.names if seen else ()):
        console.print(f"{index:>3} {name:<18} {100 * result.classes[index] / seen:6.2f} % of the pixels")
    if result.findings and data.layout:
        console.print(f"expected below data.root:\n{escape(data.layout)}", highlight=False, soft_wrap=True)
    return result.findings


def main() -> None:
    """Examine what the arguments name and exit with 1 if anything is wrong."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    with cli.one_line_errors():
        if arguments[0] != "env" and not any(a.startswith("data=") for a in arguments):
            raise InputError("name what to examine: data=NAME data.root=DIR, or env")
        findings = examine_environment() if arguments == ["env"] else examine_data(arguments)
    for line in findings:
        print(line)
    print(f"{len(findings)} finding{'s' * (len(findings) > 1)}" if findings else "nothing found wrong")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
