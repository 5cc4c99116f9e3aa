"""End-point error against a plain loop."""

import math

import pytest
import torch

from partwise.metrics.flow import EndPointError, Reconstruction


def test_it_is_the_mean_over_all_pixels():
    torch.manual_seed(0)
    metric, lengths = EndPointError(), []
    for index, size in enumerate([(4, 6), (3, 5)]):
        flow, truth = torch.randn(1, 2, *size) * 9, torch.randn(1, 2, *size) * 9
        metric.update([index], flow, truth)
        for y in range(size[0]):
            for x in range(size[1]):
                dx, dy = (flow - truth)[0, :, y, x].tolist()
                lengths.append(math.hypot(dx, dy))
    assert metric.compute()["epe"] == pytest.approx(sum(lengths) / len(lengths), rel=1e-5)


def test_a_pair_counts_once():
    metric = EndPointError()
    for _ in range(2):
        metric.update([0], torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2))
    metric.update([1], torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2))
    assert metric.compute()["epe"] == pytest.approx(math.sqrt(2) / 2)


def test_nothing_seen_is_undefined_and_shapes_must_agree():
    assert math.isnan(EndPointError().compute()["epe"])
    with pytest.raises(ValueError, match="differ in shape"):
        EndPointError().update([0], torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 4, 4))


def test_reconstruction_is_the_mean_over_samples_and_tells_errors_where_known():
    metric = Reconstruction()
    metric.update([0, 1], torch.tensor([0.5, 0.1]))
    metric.update([1], torch.tensor([0.1]))
    assert metric.compute() == {"reconstruction": pytest.approx(0.3)}
    metric.reset()
    metric.update([0, 1], torch.tensor([0.5, 0.1]), torch.tensor([2.0, 4.0]))
    assert metric.compute() == {"reconstruction": pytest.approx(0.3), "epe": pytest.approx(3.0)}
    assert math.isnan(Reconstruction().compute()["reconstruction"])
