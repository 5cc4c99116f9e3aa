"""What TCNet's task scores besides the parts."""

import pytest
import pytorch_lightning as pl
import small_networks
import torch

from data_modules.facts import FACTSDataModule
from data_modules.synthetic.layouts.facts import FACTSWriter
from partwise.labels import FACTS
from partwise.metrics.facts import FACTSMetrics
from partwise.models.tcnet.task import TCNetTask

SIZE = (57, 33)


@pytest.mark.parametrize("known", [True, False])
def test_the_flow_is_scored_where_the_truth_is_known(known, tmp_path):
    FACTSWriter(tracklets={"train": 1, "val": 1, "test": 2}, frames_per_tracklet=6, size=SIZE,
                workers=1).write(tmp_path / "facts")  # fmt: skip
    data = FACTSDataModule(
        root=tmp_path / "facts", image_size=SIZE, batch_size=3, num_workers=0, offsets=(2, 1), true_flow=known
    )
    frame = {"num_classes": 13, "image_size": SIZE}
    network = small_networks.build(small_networks.tcnet(frame=frame, offsets=(2, 1)))
    task = TCNetTask(network, FACTS, FACTSMetrics, stretch=True)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                         enable_checkpointing=False, default_root_dir=str(tmp_path))  # fmt: skip
    (values,) = trainer.test(task, data, verbose=False)
    assert ("test/epe" in values) == known
    if known:
        errors = []
        for sample in data.dataset("test"):  # type: ignore[attr-defined]
            with torch.inference_mode():
                carried = network.eval()(sample["frames"][None].float() / 255)[1].carried
            errors += [(c.flow[0] - truth).norm(dim=0).mean() for c, truth in zip(carried, sample["flow"], strict=True)]
        assert values["test/epe"] == pytest.approx(torch.stack(errors).mean().item(), rel=1e-4)
