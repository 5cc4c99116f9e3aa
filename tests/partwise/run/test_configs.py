from omegaconf import OmegaConf

from partwise.run.configs import differences, plain


def test_differences_are_dotted_and_ordered():
    before = {"a": 1, "b": {"c": 2, "d": [1]}, "gone": 0}
    after = {"a": 1, "b": {"c": 3, "d": [2]}, "new": 0}
    assert differences(before, after) == ["b.c 2 → 3", "b.d [1] → [2]"]


def test_plain_configs_hold_plain_containers_only():
    cfg = OmegaConf.create({"a": [1, {"b": "${c}"}], "c": 2})
    assert plain(cfg) == {"a": [1, {"b": 2}], "c": 2}
    assert type(plain(cfg)["a"]) is list
