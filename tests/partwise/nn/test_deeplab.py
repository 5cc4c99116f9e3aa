import itertools

import pytest
import small_networks
import torch

from partwise.nn.deeplab import dilations
from partwise.nn.losses import lovasz_loss


def test_dilations_reach_as_far_relative_to_the_longer_side():
    assert dilations(512) == (6, 12, 18)
    assert dilations((256, 128)) == (3, 6, 9)


def test_lovasz_is_the_jaccard_loss_where_predictions_are_sure():
    """At the corners of the cube its value is 1 - IoU, averaged over the classes that occur (Berman et al., Eq. 11)."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        parts = torch.randint(0, 3, (2, 4, 4), generator=generator)
        called = torch.randint(0, 4, (2, 4, 4), generator=generator)
        logits = 60.0 * torch.nn.functional.one_hot(called, 4).permute(0, 3, 1, 2)
        ious = []
        for c in parts.unique().tolist():
            hit = ((parts == c) & (called == c)).sum()
            ious.append(hit / ((parts == c) | (called == c)).sum())
        expected = 1 - torch.stack(ious).mean()
        assert lovasz_loss(logits, parts) == pytest.approx(expected.item(), abs=1e-5)


def test_lovasz_leaves_ignored_pixels_out():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, 6, 8, generator=generator, requires_grad=True)
    parts = torch.randint(0, 5, (1, 6, 8), generator=generator)
    parts[:, 3:] = 255
    loss = lovasz_loss(logits, parts)
    assert loss.item() == pytest.approx(lovasz_loss(logits[:, :, :3], parts[:, :3]).item())
    loss.backward()
    assert (logits.grad[:, :, 3:] == 0).all()
    assert (logits.grad[:, :, :3] != 0).any()
    nothing = lovasz_loss(logits, torch.full_like(parts, 255))
    assert nothing == 0
    nothing.backward()


@pytest.mark.process
@pytest.mark.parametrize(("norm", "lovasz"), itertools.product((False, True), (0.0, 1.0)))
def test_deeplab_learns_one_picture(norm, lovasz):
    torch.manual_seed(0)
    network = small_networks.build(small_networks.deeplab(4, (32, 48), lovasz, width=16, norm=norm))
    images = torch.rand(2, 3, 32, 48)
    parts = torch.zeros(2, 32, 48, dtype=torch.long)
    parts[:, 8:24, 8:24], parts[:, 8:24, 24:40], parts[:, :4] = 1, 2, 255
    images[:, :, 8:24, 8:24] += 0.5
    images[:, 0, 8:24, 24:40] -= 0.5
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        losses = network.losses({"images": images, "parts": parts, "index": [0, 1], "sample_ids": ["a", "b"]})
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None for p in network.parameters())
    found = network.logits(images).argmax(1)
    labelled = parts != 255
    assert (found == parts)[labelled].float().mean() > 0.9
