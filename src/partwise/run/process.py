"""Settings of the process that a run lives in: its memory, its warnings, and where they go."""

from __future__ import annotations

import ctypes
import logging
import warnings
from pathlib import Path

LOG = "run's log"


def quiet() -> None:
    """Silence what says nothing about this run: hints, and warnings that the run's own design answers."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        "Experiment logs directory",  # the run folder is made before its logger; earlier rows are kept
        "Checkpoint directory .* exists",
        ".*your dataloader is not resumable",  # the samplers are, see data_modules.loading.sampling
        ".*isinstance\\(treespec",
        ".*does not have many workers",
        ".*sync_dist=True",  # the metrics have been computed on all ranks together
        ".*smaller than the logging interval",
        "Found .* module.* in eval mode",  # what is frozen is so from the start
    ):
        warnings.filterwarnings("ignore", message)


def log_to(file: Path) -> None:
    """Append Lightning's messages to a file, in place of the file of an earlier run of this process.

    Args:
        file: a run's log.txt.
    """
    logger = logging.getLogger("pytorch_lightning")
    for earlier in [handler for handler in logger.handlers if handler.name == LOG]:
        logger.removeHandler(earlier)
        earlier.close()
    handler = logging.FileHandler(file)
    handler.name = LOG
    logger.addHandler(handler)


def keep_freed_memory() -> None:
    """Let glibc reuse large freed blocks rather than hand them back to the system.

    By default each tensor over 32 MB is mapped anew and touched page by page, tenths of a CPU training step.
    Other C libraries have no `mallopt` and are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    most_maps, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    mallopt(most_maps, 0)
    mallopt(trim_threshold, 2**31 - 1)
