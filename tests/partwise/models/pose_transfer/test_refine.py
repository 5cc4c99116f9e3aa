"""The refinement network learns one person; its loss, its decoding, and the priors of training and test."""

import pytest
import torch
from posed_people import SIZE, STANDING, drawn, skeleton, turned

from partwise.metrics.parsing import confusion_matrix, iou
from partwise.models.pose_transfer.library import make_library
from partwise.models.pose_transfer.prior import part_prior, skeleton_map
from partwise.models.pose_transfer.refine import PriorMaker, RefinementNetwork, decode, refinement_loss

PERSON = skeleton()
SIZES = torch.tensor([SIZE])
CANVAS = (64, 64)


@pytest.fixture(scope="module")
def library():
    return make_library([drawn(PERSON, turned(jitter=4, seed=s)) for s in range(7)], PERSON)


def shown(person):
    """Picture and classes on the canvas."""
    rows, columns = (torch.arange(64) * side // 64 for side in SIZE)
    parts = PERSON.merge_table()[person.parts.long()][rows][:, columns]
    image = torch.stack([(parts * factor % 7) / 7 for factor in (1, 2, 3)])
    return image[None].float(), parts[None]


def test_it_learns_one_person(library):
    torch.manual_seed(0)
    image, parts = shown(drawn(PERSON, STANDING))
    prior = made(PriorMaker(library), STANDING[None], SIZES)
    net = RefinementNetwork(depth=4, width=16)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.999))
    losses = []
    for _ in range(80):
        loss = refinement_loss(net(image, prior), parts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5
    found = decode(net(image, prior))
    assert iou(confusion_matrix(found, parts, 7)).min() > 85
    assert iou(confusion_matrix(decode(prior), parts, 7)).min() < 80


def test_the_loss_is_the_mean_distance_over_labelled_pixels():
    parts = torch.tensor([[[0, 1], [2, 255]]])
    maps = torch.full((1, 2, 2, 2), 0.25)
    assert refinement_loss(maps, parts).item() == pytest.approx(100 * (4 * 0.25 + 2 * 0.75) / 6)
    assert refinement_loss(maps, torch.full_like(parts, 255)) == 0


def test_decoding_needs_more_than_one_half():
    maps = torch.tensor([[0.5, 0.6, 0.7, 0.2], [0.1, 0.7, 0.2, 0.51]]).view(1, 2, 2, 2)
    assert decode(maps).tolist() == [[[0, 2], [1, 2]]]


def made(make, poses, sizes, **options):
    return make.make(make.find(poses, **options)[0], poses, sizes, CANVAS)


def test_a_skeleton_map_takes_the_priors_place(library):
    prior = made(PriorMaker(library, kind="skeleton"), STANDING[None], SIZES)
    torch.testing.assert_close(prior, skeleton_map(PERSON, STANDING[None], SIZES, CANVAS))


def test_a_test_takes_the_nearest_three(library):
    make = PriorMaker(library)
    nearest = library.neighbours(STANDING[None], 3)[0]
    torch.testing.assert_close(
        made(make, STANDING[None], SIZES), part_prior(library, nearest, STANDING[None], SIZES, CANVAS)
    )
    own = made(make, library.poses, SIZES.expand(7, 2), own=torch.arange(7))
    kept = library.neighbours(library.poses, 3, torch.arange(7))[0]
    torch.testing.assert_close(own, part_prior(library, kept, library.poses, SIZES.expand(7, 2), CANVAS))


def test_training_draws_three_of_the_nearest_five_afresh(library):
    make = PriorMaker(library)
    generator = torch.Generator().manual_seed(0)
    nearest = library.neighbours(STANDING[None], 5)[0][0]
    choices = torch.combinations(nearest, 3)
    possible = part_prior(library, choices, STANDING.expand(10, 16, 3), SIZES.expand(10, 2), CANVAS)
    seen = set()
    for _ in range(40):
        prior = made(make, STANDING[None], SIZES, training=True, generator=generator)
        alike = (prior - possible).abs().amax((1, 2, 3)) < 1e-6
        assert alike.sum() == 1
        seen.add(int(alike.nonzero()))
    assert len(seen) > 7
