"""`run.py` on the device from the first step to the pictures, and its checkpoint on the CPU."""

import json

import numpy as np
import pytest
import torch
from commands import only_run, run_py

from partwise.predict.load import load_parser

SMALL = {
    "parsing_rcnn_vip": ["image_size=64", "model.network.feature.width=16", "model.network.heads.box_width=32",
                         "data.synthetic.videos={train:2,val:1,test:1}"],
    "tcnet_indoor": ["image_size=[57,33]", "model.network.flow.width=0.0625", "model.network.flow.displacement=2",
                     "model.network.flow.channels=64", "model.network.flow.skip_channels=32",
                     "model.network.frame.backbone_multiplier=0.125", "model.network.frame.width=16", "init=[]",
                     "data.synthetic.tracklets={train:4,val:1,test:2}", "data.synthetic.size=[57,33]"],
}  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("name", SMALL)
def test_train_and_predict(name, device, tmp_path):
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    run_py(
        f"experiment={name}", *SMALL[name], "trainer.max_epochs=1", "data.batch_size=2", "data.num_workers=1",
        "trainer.precision=bf16-mixed", f"trainer.accelerator={accelerator}", "trainer.check_val_every_n_epoch=1",
        "ema=0.9", f"outputs={tmp_path}",
    )  # fmt: skip
    folder = only_run(tmp_path)
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert (folder / "pictures" / "overlay.jpg").is_file()
    (folder / "two").mkdir()
    for n in range(2):
        (folder / "two" / f"{n}.jpg").write_bytes((folder / "pictures" / "overlay.jpg").read_bytes())
    checkpoint = folder / "checkpoints" / "last.ckpt"
    run_py(
        "task=predict", f"ckpt={checkpoint}", f"input={folder / 'two'}", f"output={tmp_path / 'parsed'}",
        f"trainer.accelerator={accelerator}",
    )  # fmt: skip
    assert list((tmp_path / "parsed").rglob("*.png"))
    picture = np.zeros((40, 30, 3), np.uint8)
    (parsing,) = load_parser(checkpoint, torch.device("cpu")).stream([picture])
    assert parsing["parts"].shape == (40, 30)
