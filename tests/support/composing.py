"""Configs as `run.py` composes them."""

from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
#: Experiments that need people's poses, or whose persons overlap: tests/partwise/models/{pose_transfer,self_supervised,
#: baselines} have theirs.
POSED = {f"pose_{kind}_{data}" for kind in ("refinement", "labels") for data in ("ppp", "horse_cow")} | {
    "pose_module_coco", "pose2seg_module_coco", "pose2seg_coco", "pose2seg_ochuman", "self_supervised_labels",
    "self_supervised_ochuman", "self_supervised_cocopersons", "mask_rcnn_coco", "mask_rcnn_ochuman",
}  # fmt: skip


@cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(EXPERIMENTS), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def composed(*overrides: str) -> DictConfig:
    """The config of the overrides, which a test may change."""
    return _composed(*overrides).copy()
