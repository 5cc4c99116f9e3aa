"""Every operation gives the same values and gradients on both devices, in single precision."""

import pytest
import torch
from torch import nn

from partwise.labels import VIP
from partwise.nn.products import PatchConv2d, SpreadConv2d, SpreadConvTranspose2d
from partwise.ops.correlation import correlation
from partwise.ops.flip import flip_labels, flip_scores, hflip
from partwise.ops.flow import consistency_mask, flip_flow, resize_flow, warp
from partwise.ops.instances import boxes_of, join_parts, join_persons, paste_mask
from partwise.ops.mean_field import mean_field
from partwise.ops.resize import Letterbox

#: Largest difference as a share of the largest value: sums over some hundred products of rounding errors of 6e-8.
EXACT, SUMS = 1e-5, 5e-5


def drawn(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smooth_flow(*shape, scale=3.0):
    """Flow that points between the pixels, never at one: there the gradient jumps."""
    flow = drawn(*shape, seed=1, scale=scale)
    return flow.floor() + 0.25 + 0.5 * (flow - flow.floor())


def field(theta, method):
    """Mean field of a picture drawn for it."""
    image = (100 + drawn(3, 20, 16, seed=3, scale=20.0)).clamp(0, 255)
    return lambda unary, w: mean_field(unary, image.to(unary.device), w, theta, method=method)


DIFFERENTIABLE = {
    "mean_field, windows": (field((2, 8, 2), "window"), [drawn(7, 20, 16), torch.tensor([8.0, 2.0])]),
    "mean_field, lattice": (field((8, 13, 4), "lattice"), [drawn(7, 20, 16), torch.tensor([2.0, 1.0])]),
    "warp": (warp, [drawn(2, 5, 24, 20), smooth_flow(2, 2, 24, 20)]),
    "warp, border": (lambda x, f: warp(x, f, "border"), [drawn(2, 3, 24, 20), smooth_flow(2, 2, 24, 20)]),
    "resize_flow": (lambda f: resize_flow(f, (48, 30)), [drawn(2, 2, 24, 20)]),
    "flip_flow": (flip_flow, [drawn(2, 2, 24, 20)]),
    "correlation": (lambda a, b: correlation(a, b, 4, 1), [drawn(2, 64, 11, 9), drawn(2, 64, 11, 9, seed=1)]),
    "correlation, step 2": (lambda a, b: correlation(a, b, 6, 2), [drawn(2, 64, 11, 9), drawn(2, 64, 11, 9, seed=1)]),
    "flip_scores": (lambda x: flip_scores(x, VIP), [drawn(2, 20, 8, 6)]),
    "restore": (Letterbox.fit((31, 50), 64).restore, [drawn(2, 3, 64, 64)]),
    "restore_points": (Letterbox.fit((31, 50), 64).restore_points, [drawn(5, 2, scale=20.0)]),
    "place_points": (Letterbox.fit((31, 50), 64).place_points, [drawn(5, 2, scale=20.0)]),
    "restore_boxes": (Letterbox.fit((31, 50), 64).restore_boxes, [drawn(5, 4, scale=20.0).abs() + 0.1]),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_values_and_gradients(name, both, compare):
    operation, inputs = DIFFERENTIABLE[name]

    def work(device):
        leaves = [x.detach().to(device).requires_grad_() for x in inputs]
        result = operation(*leaves)
        assert result.device.type == device.type
        (result * drawn(*result.shape, seed=2).to(device)).sum().backward()
        return [result, *(leaf.grad for leaf in leaves)]

    assert compare.far(*both(work), SUMS if name.startswith(("correlation", "warp", "mean_field")) else EXACT) == {}


LAYERS = {
    "patches, few positions": (lambda: PatchConv2d(32, 48, 3, 2, 1), (2, 32, 4, 4)),
    "patches, many positions": (lambda: PatchConv2d(32, 48, 3, 1, 1), (2, 32, 9, 9)),
    "spread": (lambda: SpreadConv2d(64, 2, 3, padding=1), (2, 64, 9, 7)),
    "spread, transposed": (lambda: SpreadConvTranspose2d(64, 16, 4, 2, 1), (2, 64, 5, 6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_convolutions_as_products(name, both, compare):
    make, shape = LAYERS[name]

    def work(device):
        torch.manual_seed(0)
        layer, x = make().to(device), drawn(*shape).to(device).requires_grad_()
        result = layer(x)
        (result * drawn(*result.shape, seed=2).to(device)).sum().backward()
        return [result, x.grad, *(p.grad for p in layer.parameters())]

    assert compare.far(*both(work), SUMS) == {}


def people():
    ids = torch.zeros(40, 30, dtype=torch.int64)
    ids[3:20, 2:9], ids[10:35, 8:25], ids[0:2, 28:30] = 4, 1, 9
    return ids


def leaves(value):
    """Tensors in nested tuples and lists, on the CPU."""
    if isinstance(value, torch.Tensor):
        return [value.cpu()]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, (tuple, list)) else []


def test_boxes_of_a_map(both):
    def work(device):
        return leaves(boxes_of(people()[None].to(device)))

    cpu, other = both(work)
    assert len(cpu) >= 2
    for a, b in zip(cpu, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("box", [(3.3, 4.7, 20.1, 33.9), (-5.0, -2.0, 12.5, 8.0), (25.0, 30.0, 60.0, 70.0)])
def test_masks_are_pasted_alike(box, both):
    mask = torch.rand(28, 28, generator=torch.Generator().manual_seed(0))

    def work(device):
        (pasted,) = leaves(paste_mask(mask.to(device), box, (40, 30)))
        return pasted

    cpu, other = both(work)
    assert cpu.any()
    assert (cpu != other).float().mean() < 1e-3  # a probability within a rounding error of 0.5


def test_persons_and_parts_are_joined_alike(both, compare):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(4, 28, 28, generator=generator) * 0.4 + 0.35
    boxes = torch.tensor([[2.0, 3, 14, 35], [10, 5, 25, 38], [11, 6, 24, 37], [1, 1, 4, 4]])
    scores, probs = torch.tensor([0.9, 0.8, 0.95, 0.75]), drawn(20, 40, 30, scale=3.0).softmax(0)

    def work(device):
        persons, kept = join_persons(masks.to(device), boxes.to(device), scores.to(device), (40, 30))
        parts, instances = join_parts(probs.to(device), persons)
        return {"persons": persons, "boxes": kept, "parts": parts, "instances": instances}

    cpu, other = both(work)
    assert len(cpu["persons"]["classes"]) > 1
    assert compare.far(cpu, other, EXACT) == {}
    for name in ("persons", "instances"):
        assert torch.equal(cpu[name]["classes"], other[name]["classes"].cpu())
        assert (cpu[name]["map"] == other[name]["map"].cpu()).float().mean() > 0.999
    assert torch.equal(cpu["parts"], other["parts"].cpu())


def test_consistency(both):
    forward = smooth_flow(2, 2, 24, 20)

    def work(device):
        return consistency_mask(forward.to(device), -forward.to(device)).cpu()

    cpu, other = both(work)
    assert cpu.any()
    assert (cpu != other).float().mean() < 1e-3


def test_flips_of_labels_and_samples(both):
    parts = torch.randint(0, 20, (2, 16, 12), generator=torch.Generator().manual_seed(0))
    sample = {
        "images": drawn(2, 3, 16, 12), "parts": parts, "flow": drawn(2, 2, 16, 12),
        "keypoints": drawn(2, 17, 3, scale=5.0), "boxes": drawn(2, 4, scale=5.0),
    }  # fmt: skip

    def work(device):
        flipped = hflip({name: x.to(device) for name, x in sample.items()}, VIP)
        return [*(x.cpu() for x in flipped.values()), flip_labels(parts[0].byte().to(device), VIP).cpu()]

    for a, b in zip(*both(work), strict=True):
        assert torch.equal(a, b)


def test_single_precision_is_meant(device):
    """TF32 would have ten bits."""
    torch.manual_seed(0)
    conv, x = nn.Conv2d(256, 8, 3).to(device), torch.randn(1, 256, 16, 16, device=device)
    exact = conv.double()(x.double()).float()
    error = (conv.float()(x) - exact).abs().max() / exact.abs().max()
    assert error < SUMS
