"""Neighbours, priors and the refinement network of pose transfer are the same on both devices."""

import torch
from posed_people import SIZE, drawn, skeleton, turned

from partwise.models.pose_transfer.library import make_library
from partwise.models.pose_transfer.prior import skeleton_map
from partwise.models.pose_transfer.refine import PriorMaker, RefinementNetwork, refinement_loss

PERSON = skeleton()
CANVAS = (64, 64)


def targets(device):
    poses = torch.stack([turned(8 * s, 0.9, 4, s) for s in range(4)])
    return poses.to(device), torch.tensor([SIZE] * 4, device=device)


def test_priors_differ_in_few_pixels_at_edges(both):
    library = make_library([drawn(PERSON, turned(jitter=6, seed=s)) for s in range(8)], PERSON)

    def priors(device):
        poses, sizes = targets(device)
        return library.neighbours(poses, 5)[0], PriorMaker(library).make(
            library.neighbours(poses, 3)[0], poses, sizes, CANVAS
        )

    (cpu_neighbours, cpu), (neighbours, other) = both(priors)
    assert torch.equal(cpu_neighbours, neighbours.cpu())
    assert (cpu - other.cpu()).abs().mean() < 1e-3


def test_skeletons_are_drawn_alike(both):
    cpu, other = both(lambda device: skeleton_map(PERSON, *targets(device), size=CANVAS))
    assert (cpu != other.cpu()).float().mean() < 1e-4


def test_the_refinement_network_has_the_same_loss_and_gradients(both, compare):
    def step(device):
        torch.manual_seed(0)
        net = RefinementNetwork(depth=4, width=8).to(device)
        image, prior = torch.rand(2, 3, 64, 64).to(device), torch.rand(2, 6, 64, 64).to(device)
        loss = refinement_loss(net(image, prior), torch.randint(0, 7, (2, 64, 64)).to(device))
        loss.backward()
        return loss, {name: p.grad for name, p in net.named_parameters() if name.endswith("weight")}

    assert not compare.far(*both(step), 1e-3)
