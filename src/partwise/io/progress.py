"""Progress bars of a terminal."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)


def counter(*further: ProgressColumn) -> Progress:
    """Make a progress display that shows what is done of how many, and the time that it took.

    Args:
        further: columns behind these.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, *further)
