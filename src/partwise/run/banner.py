"""The banner that introduces a run: what it is, and what its profile changes of the paper's recipe."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose
from omegaconf import DictConfig
from rich.panel import Panel
from rich.text import Text

from partwise.run.configs import differences, plain
from partwise.run.devices import emulates_bfloat16

#: Keys whose changes the banner tells otherwise.
UNTOLD = ("data.synthetic", "profile", "pretrained", "init", "starts")


def banner(cfg: DictConfig, overrides: Sequence[str]) -> Panel:
    """Make the panel that introduces a run.

    Args:
        cfg: composed config of a run that is started.
        overrides: that it was composed with.
    """
    training = cfg.task == "train"
    about = f"profile={cfg.profile}   data={cfg.run.data}" if training else f"data={cfg.run.data}"
    text = Text.assemble((cfg.name, "bold"), f"   {about}\nfolder {cfg.run.folder}")
    if training and cfg.profile == "demo":
        changes = ", ".join(_changes_of_profile(overrides))
        text.append(f"\ndemo: smaller sizes, fewer epochs and a schedule to match; {_start(cfg)}.")
        text.append(f" Otherwise the paper's method. It changes {changes}")
    if cfg.run.data == "synthetic":
        text.append("\nsynthetic data", "yellow")
        text.append(": rendered people, no photographs; set data.root for the real dataset")
    if emulates_bfloat16(cfg):
        text.append("\nslow", "yellow")
        text.append(": this CPU only emulates bfloat16, at a tenth of the speed or less; set trainer.precision=32-true")
    return Panel(text, title="partwise", title_align="left")


def _start(cfg: DictConfig) -> str:
    """Say what the layers start from."""
    if cfg.init:
        return f"it starts from {', '.join(cfg.init)}"
    if cfg.pretrained == "standin":
        return "its trunk starts from weights of rendered people, whose batch-norm statistics stay"
    return "all layers train from scratch, so batch norm trains too"


def _changes_of_profile(overrides: Sequence[str]) -> list[str]:
    """What the profile changes of the paper's recipe, as "key before → after"."""
    given = [o for o in overrides if not o.startswith("profile=")]
    cfg, paper = compose("config", overrides=[*overrides]), compose("config", overrides=[*given, "profile=paper"])
    # Unresolved, so that a value that others refer to is listed once.
    changes = differences(plain(paper, resolve=False), plain(cfg, resolve=False))
    return [d.removeprefix("model.") for d in changes if not d.startswith(UNTOLD)]
