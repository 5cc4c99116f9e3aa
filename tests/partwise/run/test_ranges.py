"""Every value with a range is checked before anything is built."""

import math
from fnmatch import fnmatchcase

import pytest
from commands import run_py
from composing import EXPERIMENTS, composed

from partwise.errors import InputError
from partwise.run.configs import plain
from partwise.run.ranges import RANGES, _values, check_ranges

NAMES = sorted(file.stem for file in (EXPERIMENTS / "experiment").glob("*_*.yaml"))
PROFILES = ("demo", "paper")


@pytest.fixture(scope="module")
def config():
    return plain(composed("experiment=aten_vip"))


def changed(config, key, value):
    """A copy of a config with another value under a dotted key."""
    first, _, rest = key.partition(".")
    return {**config, first: changed(config.get(first) or {}, rest, value) if rest else value}


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("data.batch_size", 0, "an integer of at least 1"), ("data.batch_size", 2.5, "an integer of at least 1"),
        ("data.batch_size", None, "an integer of at least 1"), ("data.batch_size", True, "an integer of at least 1"),
        ("data.num_workers", -1, "an integer from 0 to 1024"), ("data.num_workers", "two", "an integer from 0"),
        ("image_size", 0, "side in pixels from 16 to 16384"), ("image_size", [64], "side in pixels"),
        ("image_size", [64, -64], "side in pixels"), ("image_size", 10**6, "side in pixels"),
        ("trainer.precision", "bf17", "one of 32-true, bf16-mixed"), ("trainer.devices", 0, "a number of devices"),
        ("trainer.devices", -2, "a number of devices"), ("trainer.devices", "some", "a number of devices"),
        ("trainer.accelerator", "gpus", "one of auto, cpu, gpu"), ("trainer.max_epochs", -2, "at least -1"),
        ("trainer.max_steps", 0, "at least 1 or one of -1"), ("trainer.limit_train_batches", 0, "or null"),
        ("trainer.limit_val_batches", 1.5, "or null"), ("trainer.gradient_clip_val", -1, "above 0"),
        ("trainer.accumulate_grad_batches", 0, "at least 1"), ("trainer.deterministic", "yes", "true or false"),
        ("seed", -1, "from 0 to 4294967295"), ("seed", 2**32, "from 0 to 4294967295"), ("ema", 1, "below 1 or null"),
        ("ema", 0, "above 0"), ("checkpoint_every", 0, "at least 1"), ("monitor_mode", "up", "one of max, min"),
        ("testing.views.scales", [], "a list of values"), ("testing.views.scales", [0], "a list of values"),
        ("testing.smoothing", 1.0, "at least 0 and below 1"), ("data.flip", 1.5, "at least 0 and at most 1"),
        ("data.synthetic.severity", -0.1, "at least 0 and at most 1"), ("data.synthetic.size", 128, "2 values"),
        ("model.optimizer.lr", 0, "a number above 0"), ("model.optimizer.lr", math.nan, "a number above 0"),
        ("model.optimizer.lr", math.inf, "a number above 0"), ("model.optimizer.lr", "1e-3x", "a number above 0"),
        ("model.optimizer.momentum", 1, "below 1"), ("model.optimizer.weight_decay", -1, "at least 0"),
        ("model.schedule.milestones", [1.5], "a list of values"), ("outputs", "", "a text"),
        ("model.network.key_interval", 0, "at least 1"), ("model.network.frame.feature.width", 0, "above 0"),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_named_with_what_is_allowed(config, key, value, allowed):
    with pytest.raises(InputError) as refused:
        check_ranges(changed(config, key, value))
    shown = "null" if value is None else "true" if value is True else value
    assert str(refused.value).startswith(f"{key}={shown} must be ")
    assert allowed in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_lies_in_the_ranges(name, profile):
    check_ranges(plain(composed(f"experiment={name}", f"profile={profile}")))


@pytest.mark.parametrize(
    ("key", "value"),
    [("trainer.devices", "0,1"), ("trainer.devices", [1]), ("trainer.devices", "auto"), ("trainer.devices", -1),
     ("image_size", [64, 96]), ("trainer.max_steps", 5), ("ema", 0.99), ("trainer.limit_val_batches", 0),
     ("testing.size", [512, 256]), ("trainer.precision", 16), ("own.batch_size", 0)],
)  # fmt: skip
def test_other_forms_and_other_keys_are_taken(config, key, value):
    check_ranges(changed(config, key, value))


def test_the_key_that_others_refer_to_is_named():
    wrong = plain(composed("experiment=aten_vip", "image_size=-1"))
    with pytest.raises(InputError, match=r"^image_size=-1 must be a side"):
        check_ranges(wrong)


def test_every_range_is_of_a_key_that_some_experiment_has():
    configs = [composed(f"experiment={name}", f"profile={profile}") for name in NAMES for profile in PROFILES]
    keys = {key for config in configs for key, _ in _values(plain(config))}
    assert [pattern for pattern in RANGES if not any(fnmatchcase(key, pattern) for key in keys)] == []


@pytest.mark.process
def test_the_command_refuses_before_it_builds(tmp_path):
    done = run_py("experiment=aten_vip", "data.batch_size=0", f"outputs={tmp_path}", status=1)
    assert done.stderr == "error: data.batch_size=0 must be an integer of at least 1\n"
    assert not any(tmp_path.iterdir())
