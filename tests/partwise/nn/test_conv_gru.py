"""The recurrent units against their equations written out for single numbers."""

import math

import pytest
import torch

from partwise.nn.conv_gru import ConvGRU, ConvLSTM, Mean, hard_sigmoid


def clip(x):
    return min(max(0.2 * x + 0.5, 0.0), 1.0)


def scalar(unit, seed):
    """The unit with one channel and 1x1 kernels: products of numbers."""
    torch.manual_seed(seed)
    for parameter in unit.parameters():
        torch.nn.init.normal_(parameter)
    return {name: p.detach().double().flatten().tolist() for name, p in unit.named_parameters()}


def logistic(x):
    return 1 / (1 + math.exp(-x))


SIGMAS = [("logistic", logistic), ("hard", clip)]


@pytest.mark.parametrize(("sigmoid", "sigma"), SIGMAS)
@pytest.mark.parametrize("seed", range(3))
def test_gru_follows_equation_5(seed, sigmoid, sigma):
    gru = ConvGRU(1, kernel=1, sigmoid=sigmoid)
    p = scalar(gru, seed)
    (xz, xr, xh), (bz, br, bh) = p["inputs.weight"], p["inputs.bias"]
    (hz, hr), (hh,) = p["gates.weight"], p["candidate.weight"]
    xs = [0.3, -1.2, 0.8]
    h = sum(xs) / 3
    for x in xs:
        z, r = sigma(x * xz + h * hz + bz), sigma(x * xr + h * hr + br)
        h = (1 - z) * h + z * math.tanh(x * xh + r * h * hh + bh)
    out = gru([torch.full((1, 1, 1, 1), x) for x in xs])
    assert out.item() == pytest.approx(h, abs=1e-5)


@pytest.mark.parametrize(("sigmoid", "sigma"), SIGMAS)
@pytest.mark.parametrize("seed", range(3))
def test_lstm_follows_its_equations(seed, sigmoid, sigma):
    lstm = ConvLSTM(1, kernel=1, sigmoid=sigmoid)
    p = scalar(lstm, seed)
    h = c = 0.0
    for x in (0.3, -1.2, 0.8):
        i, f, o, g = (
            x * w + b + h * u for w, b, u in zip(p["inputs.weight"], p["inputs.bias"], p["states.weight"], strict=True)
        )
        c = sigma(f) * c + sigma(i) * math.tanh(g)
        h = sigma(o) * math.tanh(c)
    out = lstm([torch.full((1, 1, 1, 1), x) for x in (0.3, -1.2, 0.8)])
    assert out.item() == pytest.approx(h, abs=1e-5)


def test_gru_sees_its_neighbourhood_and_no_more():
    gru, x = ConvGRU(2), torch.zeros(1, 2, 9, 9)
    moved = x.clone()
    moved[..., 4, 4] = 1
    changed = (gru.step(x, x) != gru.step(moved, x)).any(1)[0]
    rows, columns = changed.nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 5, 3, 5)


@pytest.mark.parametrize("unit", [ConvGRU(2), ConvLSTM(2)])
def test_gradients(unit):
    unit = unit.double()
    features = [torch.rand(1, 2, 3, 3, dtype=torch.double, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *f: unit(f), features)


def test_a_fresh_lstm_remembers():
    lstm = ConvLSTM(4)
    assert (lstm.inputs.bias.data.chunk(4)[1] == 1).all()


def test_mean_and_hard_sigmoid():
    a, b = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(Mean()([a, b]), (a + b) / 2)
    assert hard_sigmoid(torch.tensor([-9.0, -2.5, 0.0, 1.0, 9.0])).tolist() == pytest.approx([0, 0, 0.5, 0.7, 1])
