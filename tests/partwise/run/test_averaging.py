import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from partwise.run.averaging import Average, ExponentialAverage


def recursion(decay, values):
    """The average as it is written."""
    average = None
    for n, value in enumerate(values):
        d = min(decay, (1 + n) / (10 + n))
        average = value if average is None else d * average + (1 - d) * value
        yield average


def test_the_average_is_the_written_recursion():
    model = torch.nn.Linear(1, 1, bias=False)
    average = Average(model, torch.device("cpu"), 0.5)
    values = [1.0, 4.0, -2.0, 7.0]
    for value, expected in zip(values, recursion(0.5, values), strict=True):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update_parameters(model)
        assert average.module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_an_update_reads_nothing_from_the_device():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).to("meta")  # which has no values
    average = Average(model, torch.device("meta"), 0.5)
    for _ in range(3):
        average.update_parameters(model)
    assert average.n_averaged.item() == 3


class Line(pl.LightningModule):
    """A weight that moves by one a step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return -self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_training_ends_with_the_average_also_when_resumed(resumed, tmp_path):
    def fit(epochs, ckpt=None):
        run = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[ExponentialAverage(0.5), ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)],
        )  # fmt: skip
        line = Line()
        run.fit(line, DataLoader(torch.zeros(3, 1)), ckpt_path=ckpt, weights_only=True)
        return line

    if resumed:
        fit(1)
    line = fit(2, tmp_path / "epoch=0.ckpt" if resumed else None)
    *_, expected = recursion(0.5, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert line.weight.item() == pytest.approx(expected, abs=1e-6)
