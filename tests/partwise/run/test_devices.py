"""What is left to the device: deterministic algorithms, and what a CPU cannot do."""

import pytest
import torch
from composing import composed

from partwise.errors import InputError
from partwise.run.build import make_scorer
from partwise.run.devices import runs_on_cpu, trainer_options
from partwise.run.folder import Run

PARSER = "experiment=parsing_rcnn_vip"


@pytest.mark.parametrize(
    ("accelerator", "available", "expected"),
    [("auto", True, False), ("auto", False, True), ("gpu", True, False), ("cpu", True, True)],
)
def test_a_cpu_is_asked_for_or_all_there_is(accelerator, available, expected):
    assert runs_on_cpu(accelerator, available) == expected


@pytest.mark.parametrize(
    ("override", "available", "expected"),
    [
        (None, False, "warn"), (None, True, False), ("trainer.accelerator=cpu", True, "warn"),
        ("trainer.deterministic=true", True, True), ("trainer.deterministic=warn", True, "warn"),
        ("trainer.deterministic=false", False, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("group", ["auto", "ddp"])
def test_deterministic_algorithms_are_off_on_a_gpu_unless_asked_for(override, available, expected, group):
    cfg = composed(PARSER, f"trainer={group}", *([override] if override else []))
    assert trainer_options(cfg.trainer, available) == {"deterministic": expected}


@pytest.mark.parametrize("available", [True, False])
def test_a_trainer_is_made_so(available, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    run = Run(tmp_path, resumed=False)
    try:
        make_scorer(composed(PARSER), run)
        assert torch.are_deterministic_algorithms_enabled() == (not available)
        assert torch.is_deterministic_algorithms_warn_only_enabled() == (not available)
    finally:
        torch.use_deterministic_algorithms(False)


def test_batch_norm_is_not_synchronised_on_a_cpu():
    cfg = composed(PARSER, "trainer=ddp", "trainer.sync_batchnorm=true")
    assert trainer_options(cfg.trainer, available=True)
    with pytest.raises(InputError, match="sync_batchnorm=true needs GPUs"):
        trainer_options(cfg.trainer, available=False)
