"""Algorithm 1 of the self-supervised loop: rounds in which videos are labelled and the modules trained on their labels.

Every step is a run of its own, like a stage: it is found again when it is finished, and goes on when it was stopped.
An experiment with rounds says how many there are and which experiments are their steps:

    rounds:
      tpr: 5                # N_TPR
      gbsr: 1               # N_GBSR
      most: 5               # rounds at most
      similar: 0.95         # ... or until the Seg Module agrees so well with the final masks
      labels: {experiment: self_supervised_labels, overrides: []}
      seg: {experiment: seg_module_coco, overrides: [trainer.max_epochs=10]}
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from partwise.io import run_json
from partwise.io.atomic import write_json
from partwise.models.self_supervised.labelling import SUMMARY
from partwise.run import stages
from partwise.run.cli import quoted
from partwise.run.configs import plain

#: In the order in which they are loaded: the Pose2Seg Module's checkpoint has the Seg Module that it was trained with,
#: which a newer one replaces.
MODULES = ("pose2seg", "seg", "pose")
Run = Callable[[str, str, Sequence[str]], Path]


@dataclass
class Loop:
    """The state of Algorithm 1.

    Attributes:
        about: `rounds` of the config.
        weights: checkpoint of each module.
        run: runs a step by its name, the key of its experiment in `about`, and its overrides; returns what it made.
        history: what each step made, in order.
    """

    about: dict[str, Any]
    weights: dict[str, str]
    run: Run
    history: list[dict[str, Any]] = field(default_factory=list)

    def finish(self) -> None:
        """Do rounds until the Seg Module's own masks are similar enough to the final ones, or there were enough."""
        for number in range(1, self.about["most"] + 1):
            if self.round(number) > self.about["similar"]:
                return

    def round(self, number: int) -> float:
        """Do one round; the numbers are the lines of Algorithm 1.

        Args:
            number: of the round, from 1.

        Returns:
            Mean IoU of the Seg Module's masks with the final ones.
        """
        for n in range(1, self.about["tpr"] + 1):  # 1, 2: flow and masks refine each other, the Seg Module follows
            self.train(["seg"], self.label("masks", f"round {number}, TPR {n}"), f"round {number}, TPR {n}")
        for n in range(1, self.about["gbsr"] + 1):  # 3: so do graphs and poses, and the Pose Module
            self.train(["pose"], self.label("poses", f"round {number}, GBSR {n}"), f"round {number}, GBSR {n}")
        labels = self.label("instances", f"round {number}, fusion")  # 4: Eq. 10
        similar = float(summary(labels)["similar"] or 0.0)  # nobody in any frame agrees with nothing
        self.history[-1]["similar"] = similar
        if similar <= self.about["similar"]:  # 5: else the parameters stay as they are
            self.train(["seg", "pose2seg"], labels, f"round {number}, fusion")
        return similar

    def init(self, *modules: str) -> str:
        """Return the override by which a step starts from modules, keys of `weights`."""
        return f"init=[{','.join(quoted(self.weights[module]) for module in modules)}]"

    def label(self, kind: str, name: str) -> Path:
        """Label the videos.

        Args:
            kind: "masks" by TPR, "poses" by GBSR, or "instances" by both and the Pose2Seg Module.
            name: of the step, for messages.

        Returns:
            Folder of the labels.
        """
        labels = self.run(f"{name}, labels", "labels", [f"model.kind={kind}", self.init(*MODULES)])
        self.history.append({"step": name, "labels": str(labels)})
        return labels

    def train(self, modules: Sequence[str], labels: Path, name: str) -> None:
        """Train modules on the benchmark's and the videos' labels together; without anybody in these they stay.

        Args:
            modules: keys of `weights`.
            labels: folder of the videos' labels.
            name: of the step, for messages.
        """
        for module in modules if summary(labels)["persons"] else ():
            given = [self.init("pose2seg", "seg") if module == "pose2seg" else self.init(module)]
            given.append(f"data.extra={quoted(str(labels))}")
            self.weights[module] = str(self.run(f"{name}, {module}", module, given))
            self.history[-1][module] = self.weights[module]


def summary(labels: Path) -> dict[str, Any]:
    """Read how many persons a folder of labels has, and how similar the Seg Module's masks are to the final ones."""
    about: dict[str, Any] = json.loads((labels / SUMMARY).read_text())
    return about


def finish(cfg: DictConfig, synthetic: bool, overrides: Sequence[str]) -> list[dict[str, Any]]:
    """Do the rounds that a config asks for, and put the modules that they end with in `init`.

    Args:
        cfg: composed config of the run, whose stages are finished.
        synthetic: whether it trains on stand-ins.
        overrides: of that run.

    Returns:
        What each step made.

    Raises:
        InputError: a step failed.
    """
    if not cfg.rounds:
        return []
    about = plain(cfg)["rounds"]
    outputs = Path(cfg.stages_in)

    def run(name: str, key: str, given: Sequence[str]) -> Path:
        step = {"experiment": about[key]["experiment"], "overrides": [*about[key].get("overrides", []), *given]}
        return stages.result(stages.step(name, step, cfg, synthetic, overrides), outputs)

    loop = Loop(about, dict(zip(MODULES, cfg.init, strict=True)), run)
    loop.finish()
    cfg.init = list(loop.weights.values())
    return loop.history


def record(history: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write what each step made, its scores and seconds into the run's folder: rounds.json, and copies of its pictures.

    Args:
        history: of `finish`.
        folder: of the run.
    """
    if history:
        steps = [{**step, "scores": _scores(step), "seconds": _seconds(step)} for step in history]
        write_json(folder / "rounds.json", steps)
    for step in history:
        for picture in Path(step["labels"]).parent.glob("pictures/*.png"):
            (folder / "pictures").mkdir(exist_ok=True)
            name = "_".join(re.findall(r"\w+", step["step"].lower()))
            shutil.copyfile(picture, folder / "pictures" / f"{name}_{picture.name}")


def _seconds(step: dict[str, Any]) -> dict[str, float]:
    """Seconds of a step's labelling and trainings, those that were stopped on the way included."""
    runs = {"labels": Path(step["labels"]).parent} | {m: Path(step[m]).parent.parent for m in MODULES if m in step}
    return {key: run_json.read(run / "run.json").get("seconds", 0.0) for key, run in runs.items()}


def _scores(step: dict[str, Any]) -> dict[str, Any]:
    """Metrics of the modules that a step trained."""
    files = {key: Path(step[key]).parent.parent / "metrics.json" for key in MODULES if key in step}
    return {key: json.loads(file.read_text()) for key, file in files.items() if file.is_file()}
