import pytest

from partwise.run.loggers import wandb_logger


@pytest.mark.parametrize("options", [{}, {"mode": "offline"}])
@pytest.mark.parametrize("account", [True, False])
def test_weights_and_biases_stays_offline_where_asked(options, account, tmp_path, monkeypatch):
    if options:
        monkeypatch.delenv("WANDB_MODE", raising=False)
    else:
        monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("wandb.login", lambda **_: account)
    made = wandb_logger(save_dir=tmp_path, **options)._wandb_init
    assert (made["mode"], made["resume"]) == ("offline", None)


@pytest.mark.parametrize(("account", "expected"), [(True, (None, "allow")), (False, ("offline", None))])
def test_weights_and_biases_is_online_with_an_account(account, expected, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb.login", lambda **_: account)
    made = wandb_logger(save_dir=tmp_path)._wandb_init
    assert (made["mode"], made["resume"]) == expected
