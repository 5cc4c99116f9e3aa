"""Where a run's flow comes from: the runs that trained it before, found through their checkpoints and settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from partwise.checkpoints.loading import KEY, load
from partwise.models.tcnet.model import TCNet
from partwise.models.tcnet.task import TrunkFlow


def flow_checkpoints(init: Sequence[str | Path]) -> list[tuple[str, Path]]:
    """Find the checkpoints that a run's flow has been through, the earliest first.

    Of the checkpoints that a run started from, the last one with a flow network gave it its flow; the others, such as a
    frame parser's, did not. That run started from others in turn, which the `config.yaml` in its folder names.

    Args:
        init: checkpoints that the run started from, later ones over earlier ones.

    Returns:
        experiment and checkpoint of each run of step i (section 3.4); those that are gone, and what was before them,
        are left out.
    """
    for path in map(Path, reversed(init)):
        description = load(path)[KEY] if path.is_file() else {}
        network = description.get("network", {}).get("_target_")
        if network in (_name(TrunkFlow), _name(TCNet)):
            own = [(str(description["experiment"]), path)] if network == _name(TrunkFlow) else []
            return [*flow_checkpoints(started_from(path)), *own]
    return []


def started_from(checkpoint: Path) -> list[str]:
    """Read which checkpoints the run of a checkpoint started from; none if its folder does not say."""
    config = checkpoint.parent.parent / "config.yaml"
    return list(OmegaConf.select(OmegaConf.load(config), "init") or []) if config.is_file() else []


def _name(network: type) -> str:
    return f"{network.__module__}.{network.__qualname__}"
