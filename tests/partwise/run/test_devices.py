"""What is left to the device: where a network runs, deterministic algorithms, and what a CPU cannot do."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from partwise.errors import InputError
from partwise.run.build import make_scorer
from partwise.run.devices import device, runs_on_cpu, trainer_options
from partwise.run.folder import Run


@pytest.mark.parametrize(
    ("accelerator", "available", "expected"),
    [("auto", True, False), ("auto", False, True), ("gpu", True, False), ("cpu", True, True)],
)
def test_a_cpu_is_asked_for_or_all_there_is(accelerator, available, expected, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    assert runs_on_cpu(accelerator) == expected


@pytest.mark.parametrize(
    ("accelerator", "available", "expected"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cuda", True, "cuda"), ("gpu", True, "cuda"),
     ("cpu", True, "cpu"), ("mps", True, "cpu"), ("cuda", False, None), ("gpu", False, None)],
)  # fmt: skip
def test_a_network_runs_on_a_gpu_where_one_is(accelerator, available, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    if expected is None:
        with pytest.raises(InputError, match="no such GPU"):
            device(accelerator)
    else:
        assert device(accelerator) == torch.device(expected)


@pytest.mark.parametrize(
    ("override", "available", "expected"),
    [
        (None, False, "warn"), (None, True, False), ("trainer.accelerator=cpu", True, "warn"),
        ("trainer.deterministic=true", True, True), ("trainer.deterministic=warn", True, "warn"),
        ("trainer.deterministic=false", False, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("group", ["auto", "ddp"])
def test_deterministic_algorithms_are_off_on_a_gpu_unless_asked_for(
    override, available, expected, group, request, monkeypatch
):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    cfg = composed(request, f"trainer={group}", *([override] if override else []))
    assert trainer_options(cfg.trainer) == {"deterministic": expected}


def test_a_cpu_is_not_asked_for_more_processes_than_it_bears(request):
    cfg = composed(request, "trainer.accelerator=cpu", "trainer.devices=100000")
    with pytest.raises(InputError, match=r"trainer.devices=100000, but on this machine's CPU it is at most"):
        trainer_options(cfg.trainer)


@pytest.mark.parametrize("available", [True, False])
def test_a_trainer_is_made_so(available, tmp_path, monkeypatch, request):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    run = Run(tmp_path, resumed=False)
    try:
        make_scorer(composed(request), run)
        assert torch.are_deterministic_algorithms_enabled() == (not available)
        assert torch.is_deterministic_algorithms_warn_only_enabled() == (not available)
    finally:
        torch.use_deterministic_algorithms(False)


def test_batch_norm_is_not_synchronised_on_a_cpu(request, monkeypatch):
    cfg = composed(request, "trainer=ddp", "trainer.sync_batchnorm=true")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert trainer_options(cfg.trainer)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.raises(InputError, match="sync_batchnorm=true needs GPUs"):
        trainer_options(cfg.trainer)


def composed(request, *overrides):
    with initialize_config_dir(str(request.config.rootpath / "experiments"), version_base="1.3"):
        return compose("config", overrides=["experiment=parsing_rcnn_vip", *overrides])
