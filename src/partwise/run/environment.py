"""Whether this machine has what the project needs."""

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


def versions() -> dict[str, str]:
    """Return names and versions of everything that matters; "missing" where a package is not installed."""
    return {"system": platform.platform(), **_packages(), **_hardware()}


def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def faults() -> Iterator[str]:
    """Yield one line on each thing that will not work."""
    found = versions()
    for name in PACKAGES:
        if found[name] == "missing":
            yield f"{name} is not installed; run `uv sync`"
        if (name, found[name]) in BAD:
            yield f"{name} {found[name]} is {BAD[name, found[name]]}"
    for module in ("torchvision.ops", "av", "cv2", "pycocotools.mask"):
        try:
            import_module(module)
        except Exception as error:
            yield f"{module} cannot be imported ({error}); {_REMEDY.get(module, 'run `uv sync`')}"


_REMEDY = {"torchvision.ops": "torch and torchvision must come from one index: `uv sync` takes both from one place"}


def _hardware() -> dict[str, str]:
    try:
        import torch
    except ImportError:
        return {}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"gpu": gpu, "cuda": str(torch.version.cuda), "ffmpeg": shutil.which("ffmpeg") or "none (PyAV has its own)"}


def provenance() -> dict[str, Any]:
    """Return what a reader needs to repeat a run: code, versions, host and time."""
    git = ["git", "-C", str(Path(__file__).parent)]  # the code's repository, from whatever folder it is run
    try:
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
