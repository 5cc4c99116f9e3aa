"""The checkpoints that a run's flow network was trained from, found through earlier runs' checkpoints and settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from partwise.checkpoints.loading import KEY, load
from partwise.errors import InputError
from partwise.models.tcnet.model import TCNet
from partwise.models.tcnet.task import TrunkFlow


def flow_checkpoints(init: Sequence[str | Path]) -> list[tuple[str, Path]]:
    """Find the checkpoints that a run's flow was trained through, earliest first.

    Of the checkpoints that a run started from, the last one with a flow network provided its flow. Others, such as a
    frame parser's, did not. That earlier run in turn started from the checkpoints named by `config.yaml` in its folder.

    Args:
        init: checkpoints that the run started from; later ones override earlier ones.

    Returns:
        experiment and checkpoint of each run of step i (section 3.4). A missing checkpoint and those before it are left
        out.

    Raises:
        InputError: a checkpoint cannot be read.
    """
    for path in map(Path, reversed(init)):
        description = load(path)[KEY] if path.is_file() else {}
        network = description.get("network", {}).get("_target_")
        if network in (_name(TrunkFlow), _name(TCNet)):
            own = [(str(description["experiment"]), path)] if network == _name(TrunkFlow) else []
            return [*flow_checkpoints(started_from(path)), *own]
    return []


def started_from(checkpoint: Path) -> list[str]:
    """Read which checkpoints the run of a checkpoint started from.

    Args:
        checkpoint: checkpoint in a run's folder.

    Returns:
        the paths as the run's `config.yaml` gives them; none if there is no such file.

    Raises:
        InputError: it is damaged, or no config of a run.
    """
    config = checkpoint.parent.parent / "config.yaml"
    if not config.is_file():
        return []
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(config))
        return [str(path) for path in content.get("init") or []]
    except Exception as error:  # YAML and OmegaConf raise many kinds
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{config} is no run's config ({reason}); name the checkpoint of a whole run") from error


def _name(network: type) -> str:
    return f"{network.__module__}.{network.__qualname__}"
