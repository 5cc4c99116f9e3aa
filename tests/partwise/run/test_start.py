import pytest
from composing import composed
from omegaconf import OmegaConf

from partwise.errors import InputError
from partwise.run.folder import Run
from partwise.run.start import _refuse_other_config


@pytest.mark.parametrize(
    ("override", "refused"),
    [("model.network.feature.width=24", True), ("seed=1", True), ("data.batch_size=3", True),
     ("trainer.max_epochs=99", False), ("data.num_workers=0", False), ("data.root=/moved", False),
     ("data.test_root=/moved", False)],
)  # fmt: skip
def test_a_resumed_run_keeps_its_model_and_data(override, refused, tmp_path):
    own, changed = composed("experiment=deeplab_folder"), composed("experiment=deeplab_folder", override)
    run = Run(tmp_path, resumed=True)
    (run.folder / "config.yaml").write_text(OmegaConf.to_yaml(own, resolve=True))
    _refuse_other_config(run, own)
    if refused:
        with pytest.raises(InputError, match=override.split("=")[0].replace(".", r"\.")):
            _refuse_other_config(run, changed)
    else:
        _refuse_other_config(run, changed)
