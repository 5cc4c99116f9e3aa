"""The code, packages and hardware that a run has, and what is wrong with them."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Releases that must not be used, and why.
BAD = {
    ("pytorch-lightning", "2.6.2"): "a withdrawn release; take 2.6.4 or later",
    ("pytorch-lightning", "2.6.3"): "a withdrawn release; take 2.6.4 or later",
}
PACKAGES = (
    "partwise", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "kornia", "albumentations",
    "pycocotools", "wandb", "numpy", "scipy", "timm", "opencv-python-headless", "av", "pillow", "rich", "matplotlib",
)  # fmt: skip


def versions() -> dict[str, str | None]:
    """Return names and versions of everything that matters; None for what is not there."""
    return {"system": platform.platform(), **_packages(), **_hardware()}


def _packages() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def faults() -> Iterator[str]:
    """Yield one line on each thing that will not work."""
    for name, found in _packages().items():
        if found is None:
            yield f"{name} is not installed; run `uv sync`"
        elif (name, found) in BAD:
            yield f"{name} {found} is {BAD[name, found]}"
    for module in ("torchvision.ops", "av", "cv2", "pycocotools.mask"):
        try:
            import_module(module)
        except Exception as error:
            yield f"{module} cannot be imported ({error}); `uv sync` takes torch and torchvision from one index"


def _hardware() -> dict[str, str | None]:
    try:
        import torch
    except ImportError:
        return {}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"gpu": gpu, "cuda": torch.version.cuda, "ffmpeg": shutil.which("ffmpeg")}


def snapshot() -> dict[str, Any]:
    """Return what a reader needs to repeat a run: code, versions, host and time; None for what is unknown."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]  # the code's repository, from whatever folder it is run
    try:
        # An environment may lie in another repository, which does not hold the code.
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, check=True)
        sha = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = bool(subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        sha, dirty = None, None
    return {
        "git": {"sha": sha, "uncommitted_changes": dirty},
        "versions": _packages(),
        "host": {"name": platform.node(), "system": platform.platform(), "cpus": os.cpu_count(), **_hardware()},
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }  # fmt: skip
