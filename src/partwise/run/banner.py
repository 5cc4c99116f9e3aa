"""The banner that introduces a run: what it is, and what its profile changes of the paper's recipe."""

from __future__ import annotations

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from rich.panel import Panel
from rich.text import Text

from partwise.run.configs import differences, plain
from partwise.run.folder import Run


def overrides() -> list[str]:
    """Return the overrides of the command line."""
    return list(HydraConfig.get().overrides.task)


def changes_of_profile() -> list[str]:
    """List what the profile changes of the paper's recipe, as "key before → after"."""
    given = [o for o in overrides() if not o.startswith("profile=")]
    cfg, paper = compose("config", overrides=overrides()), compose("config", overrides=[*given, "profile=paper"])
    # Unresolved, so that a value that others refer to is listed once.
    changes = differences(plain(paper, resolve=False), plain(cfg, resolve=False))
    return [d.removeprefix("model.") for d in changes if not d.startswith(("data.synthetic", "profile"))]


def banner(run: Run, name: str, profile: str | None, data: str, changes: list[str], emulated: bool = False) -> Panel:
    """Make the panel that introduces a run.

    Args:
        run: with its folder.
        name: of the experiment.
        profile: demo or paper; None where nothing is trained.
        data: real or synthetic.
        changes: of the paper's recipe by the profile, as "key before → after".
        emulated: whether the CPU only emulates the precision asked for.
    """
    about = f"profile={profile}   data={data}" if profile else f"data={data}"
    text = Text.assemble((name, "bold"), f"   {about}\nfolder {run.folder}")
    if profile == "demo":
        text.append(
            "\ndemo: smaller sizes, fewer epochs and a schedule to match; all layers train from scratch, so batch"
        )
        text.append(" norm trains too. Otherwise the paper's method. It changes " + ", ".join(changes))
    if data == "synthetic":
        text.append("\nsynthetic data", "yellow")
        text.append(": rendered people, no photographs; set data.root for the real dataset")
    if emulated:
        text.append("\nslow", "yellow")
        text.append(": this CPU only emulates bfloat16, at a tenth of the speed or less; set trainer.precision=32-true")
    return Panel(text, title="partwise", title_align="left")
