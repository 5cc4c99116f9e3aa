import pytest
from composing import EXPERIMENTS, composed
from hydra import initialize_config_dir

from partwise.run.banner import banner
from partwise.run.devices import emulates_bfloat16
from partwise.run.folder import Run


@pytest.mark.parametrize(
    "overrides", [[], ["trainer.precision=bf16-mixed", "trainer.accelerator=cpu"], ["profile=paper"]]
)
def test_the_banner_says_what_the_profile_changes_and_that_bfloat16_is_emulated(overrides, tmp_path):
    given = ["experiment=parsing_rcnn_vip", *overrides]
    cfg = composed(*given)
    cfg.run = Run(tmp_path, resumed=False).about(synthetic=False)
    with initialize_config_dir(str(EXPERIMENTS), version_base="1.3"):
        told = str(banner(cfg, given).renderable)
    assert ("emulates bfloat16" in told) == emulates_bfloat16(cfg)
    assert ("image_size 512 → 128" in told) == (cfg.profile == "demo")
    assert str(tmp_path) in told
    assert "synthetic" not in told
