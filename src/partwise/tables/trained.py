"""Finished training runs, as their folders describe them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from partwise.errors import InputError
from partwise.io import run_json
from partwise.tables.published import RUN

#: Ablations that name what the experiment does anyway.
RECIPE = frozenset({"full", "l3", "p2", "l_s_c_uf"})
#: Keys of `data` and of `callbacks` that leave the trained network as it is.
PLACES = ("root", "test_root", "extra", "num_workers")
WATCHING = ("best",)
#: Overrides that say where and how often a recipe runs, or that a run's identity holds already.
FREE = re.compile(
    r"experiment|ablation|data|profile|task|seed|ckpt|resume|outputs|stages_in|compile|channels_last|checkpoint_every"
    r"|roots\.\w+|trainer(\.(accelerator|devices|num_nodes|strategy|enable_progress_bar))?"
    rf"|data\.({'|'.join(PLACES)})|(logger|callbacks\.({'|'.join(WATCHING)}))(\..*)?"
)
SYNTHETIC = "synthetic, not comparable"


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run.

    Attributes:
        experiment: its name.
        data: the dataset's name, lower case without underscores.
        ablations: names without folder, those that name the recipe itself left out.
        changes: other overrides that may matter; None if the run did not record them.
        profile: demo or paper.
        synthetic: whether its data are rendered.
        seed: of its generators.
        started: ISO time.
        metrics: metrics.json.
    """

    experiment: str
    data: str
    ablations: frozenset[str]
    changes: tuple[str, ...] | None
    profile: str
    synthetic: bool
    seed: int
    started: str
    metrics: Mapping[str, float | None]

    @property
    def comparable(self) -> bool:
        """Tell whether its metrics may be judged beside a paper's."""
        return not self.synthetic and self.profile == "paper" and self.changes is not None

    @property
    def about(self) -> str:
        """Describe its data, and what else distinguishes it from the paper's run."""
        profile = [] if self.profile == "paper" else [f"{self.profile} profile"]
        changes = ("overrides not recorded",) if self.changes is None else self.changes
        return ", ".join([SYNTHETIC if self.synthetic else "real", *profile, *changes])

    @property
    def name(self) -> str:
        """Return the run as the CSVs write it."""
        return "+".join([f"{self.experiment}@{self.data}", *sorted(self.ablations)])

    def fits(self, run: str) -> bool:
        """Tell whether the run is the one that a CSV names.

        Args:
            run: EXPERIMENT[@DATA][+ABLATION...]; without @DATA, the experiment's name must end in its dataset's.
        """
        wanted = RUN.fullmatch(run)
        if wanted is None or wanted["experiment"] != self.experiment:
            return False
        if frozenset(wanted["ablations"].split("+")[1:]) - RECIPE != self.ablations:
            return False
        if wanted["data"]:
            return _bare(wanted["data"]) == self.data
        return _bare(self.experiment).endswith(self.data)


def find_runs(folders: Sequence[str | Path]) -> list[TrainedRun]:
    """Find finished training runs in folders, at any depth, each once.

    Runs of task=test are left out: their recipe is their checkpoint's, which they do not record. A run whose files
    cannot be read is named and left out.

    Args:
        folders: of runs, or of folders of runs.

    Raises:
        InputError: a folder has none whose files can be read.
    """
    found: dict[Path, TrainedRun] = {}
    for folder in map(Path, folders):
        here: dict[Path, TrainedRun] = {}
        for place, record in run_json.find(folder.resolve(), "**", status="finished", task="train").items():
            with run_json.passed_over(place):
                here[place] = found.get(place) or _run(place, record)
        if not here:
            raise InputError(f"{folder} holds no finished training run (run.json, at any depth)")
        found |= here
    return list(found.values())


def _run(folder: Path, record: Mapping[str, Any]) -> TrainedRun:
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        overrides = record.get("overrides")
        return TrainedRun(
            experiment=record["experiment"],
            data=_bare(config["data"]["_target_"].rsplit(".", 1)[-1].removesuffix("DataModule")),
            ablations=_ablations(overrides or []),
            changes=None if overrides is None else tuple(o for o in overrides if not FREE.fullmatch(_key(o))),
            profile=record["profile"],
            synthetic=record["data"] != "real",
            seed=int(record["seed"]),
            started=record["started"],
            metrics={key: None if v is None else float(v) for key, v in run_json.read(folder / "metrics.json").items()},
        )
    except (
        OSError,
        YAMLError,
        OmegaConfBaseException,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(f"{folder} is no folder of a run ({type(error).__name__}: {error})") from error


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _ablations(overrides: Sequence[str]) -> frozenset[str]:
    """Names from `ablation=FOLDER/NAME` or `ablation=[FOLDER/NAME,...]`; the last override counts, as in Hydra."""
    values = [override.partition("=")[2] for override in overrides if _key(override) == "ablation"]
    names = values[-1].strip("[]").split(",") if values else []
    return frozenset(name.strip().rsplit("/", 1)[-1] for name in names) - RECIPE - {"", "null"}


def _bare(name: str) -> str:
    return name.replace("_", "").lower()
