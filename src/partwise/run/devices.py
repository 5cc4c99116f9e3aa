"""What depends on whether a run has an accelerator, such as a GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig

from partwise.errors import InputError

PROCESSES = 8  # per core of a CPU, more than any test needs and fewer than stop a machine


def device(accelerator: str) -> torch.device:
    """Choose where a network runs outside of a Trainer: on an NVIDIA GPU if there is one and nothing else is named.

    Args:
        accelerator: auto, gpu or cuda; all other names mean the CPU.

    Raises:
        InputError: a GPU is named, but there is none.
    """
    wanted, found = accelerator in ("auto", "gpu", "cuda"), torch.cuda.is_available()
    if wanted and accelerator != "auto" and not found:
        raise InputError(f"{accelerator} is asked for, but torch finds no such GPU here; give cpu")
    return torch.device("cuda" if wanted and found else "cpu")


def runs_on_cpu(accelerator: str) -> bool:
    """Tell whether a Trainer runs on the CPU.

    Args:
        accelerator: what it was asked for, "auto" for the best there is.
    """
    return accelerator == "cpu" or not torch.accelerator.is_available()


def trainer_options(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what a Trainer's config leaves to the device: whether its algorithms are deterministic.

    On a CPU they cost nothing. On a GPU RoIAlign and bilinear upsampling have only slow deterministic versions.

    Args:
        trainer: config of the Trainer; its `deterministic` (true, false or "warn") wins unless it is null.

    Returns:
        Further arguments of the Trainer.

    Raises:
        InputError: the config asks for what the device cannot do.
    """
    on_cpu = runs_on_cpu(trainer["accelerator"])
    if on_cpu and trainer.get("sync_batchnorm"):
        raise InputError("trainer.sync_batchnorm=true needs GPUs, torch has it nowhere else; leave it false on a CPU")
    processes, most = trainer.get("devices"), (os.cpu_count() or 1) * PROCESSES
    if on_cpu and isinstance(processes, int) and processes > most:
        raise InputError(f"trainer.devices={processes}, but on this machine's CPU it is at most {most}; give fewer")
    wanted = trainer.get("deterministic")
    return {"deterministic": ("warn" if on_cpu else False) if wanted is None else wanted}


def bfloat16(cfg: DictConfig) -> bool:
    """Tell whether a run computes in bfloat16."""
    return "bf16" in str(cfg.trainer.precision)


def emulates_bfloat16(cfg: DictConfig) -> bool:
    """Tell whether bfloat16 is asked of a CPU that can only emulate it."""
    return bfloat16(cfg) and runs_on_cpu(cfg.trainer.accelerator) and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
