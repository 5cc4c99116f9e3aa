"""Mean field against dense matrices in double precision; its filters against exact sums."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from partwise.ops.mean_field import mean_field
from partwise.ops.permutohedral import Lattice
from partwise.ops.windows import radius_for


def picture(height=20, width=26, smooth=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if smooth:
        few = torch.rand(1, 3, 5, 6, generator=generator, dtype=torch.float64) * 255
        return F.interpolate(few, (height, width), mode="bilinear")[0]
    return torch.rand(3, height, width, generator=generator, dtype=torch.float64) * 255


def potentials(labels, height=20, width=26, seed=1):
    return torch.randn(labels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


def dense_kernels(image, theta):
    """Row-normalised matrices of all pairs of pixels."""
    _, height, width = image.shape
    grid = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (height, width)), indexing="ij")
    position, color = torch.stack(grid, -1).view(-1, 2), image.flatten(1).T
    far, unlike = torch.cdist(position, position).square(), torch.cdist(color, color).square()
    kernels = [(-far / 2 / theta[0] ** 2 - unlike / 2 / theta[1] ** 2).exp(), (-far / 2 / theta[2] ** 2).exp()]
    return [kernel / kernel.sum(1, keepdim=True) for kernel in kernels]


def dense_mean_field(unary, image, w, theta, num_iters):
    first, second = dense_kernels(image, theta)
    u = updated = unary.flatten(1).T
    for _ in range(num_iters):
        q = updated.softmax(1)
        updated = u + w[0] * first @ q + w[1] * second @ q
    return updated.T.view(unary.shape)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("labels", [1, 2, 7, 31])
def test_marginals_are_those_of_dense_matrices(labels, smooth):
    unary, image = potentials(labels), picture(smooth=smooth)
    want = dense_mean_field(unary, image, (8, 2), (2, 8, 2), 3).softmax(0)
    assert (mean_field(unary, image).softmax(0) - want).abs().max() < 1e-3
    assert (mean_field(unary.float(), image.float()).softmax(0) - want).abs().max() < 1e-3
    exact = mean_field(unary, image, tolerance=1e-9)
    torch.testing.assert_close(exact.softmax(0), want, atol=1e-7, rtol=0)


def test_gradients_are_those_of_dense_matrices():
    unary, image = potentials(4).requires_grad_(), picture()
    w = torch.tensor([8.0, 2.0], dtype=torch.float64, requires_grad=True)
    target = torch.randint(4, (20, 26), generator=torch.Generator().manual_seed(2))
    found, want = (
        torch.autograd.grad(F.cross_entropy(u[None], target[None]), (unary, w))
        for u in (mean_field(unary, image, w, tolerance=1e-9), dense_mean_field(unary, image, w, (2, 8, 2), 3))
    )
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("method", ["window", "lattice"])
def test_gradients_of_the_potentials_and_the_weights(method):
    image = picture(6, 5) / 6
    unary, w = potentials(3, 6, 5).requires_grad_(), torch.tensor([3.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda u, w: mean_field(u, image, w, num_iters=2, method=method), (unary, w))


@pytest.mark.parametrize("method", ["window", "lattice"])
def test_permuting_the_labels_permutes_the_result(method):
    unary, image = potentials(7), picture()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    a, b = mean_field(unary, image, method=method)[order], mean_field(unary[order], image, method=method)
    torch.testing.assert_close(a, b)


def test_a_batch_is_each_image_alone():
    unary, images = potentials(10, seed=4).view(2, 5, 20, 26), torch.stack([picture(seed=5), picture(seed=6)])
    both = mean_field(unary, images)
    for n in range(2):
        torch.testing.assert_close(both[n], mean_field(unary[n], images[n]))
    assert mean_field(unary[:0], images[:0]).shape == (0, 5, 20, 26)


def test_it_computes_in_float32_under_autocast():
    unary, image = potentials(7).float(), picture().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = mean_field(unary.bfloat16(), image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mean_field(unary.bfloat16().float(), image))


def test_no_iteration_changes_nothing_and_an_edge_stays_where_the_colours_change():
    unary, image = potentials(3), picture()
    assert torch.equal(mean_field(unary, image, num_iters=0), unary)
    halves = torch.zeros(3, 20, 26, dtype=torch.float64)
    halves[:, :, 13:] = 200
    noisy = torch.randn(2, 20, 26, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    noisy[0, :, :13] += 1
    noisy[1, :, 13:] += 1
    labels = mean_field(noisy, halves).argmax(0)
    assert (labels == (torch.arange(26) >= 13).long()).all()
    assert (noisy.argmax(0) != (torch.arange(26) >= 13).long()).float().mean() > 0.1


def test_wrong_shapes_and_methods_are_told():
    with pytest.raises(ValueError, match="want"):
        mean_field(potentials(3), picture()[:2])
    with pytest.raises(ValueError, match="method=exact is none"):
        mean_field(potentials(3), picture(), method="exact")


@pytest.mark.parametrize(("theta", "tolerance", "radius"), [(2, 2.5e-3, 6), (2, 5e-4, 7), (2, 1e-4, 8), (5, 5e-4, 18)])
def test_a_window_leaves_out_no_more_than_the_tolerance(theta, tolerance, radius):
    assert radius_for(theta, tolerance) == radius
    reach = torch.arange(-200, 201, dtype=torch.float64)
    mass = (-0.5 * (reach / theta).square()).exp()
    for r, fits in ((radius, True), (radius - 1, False)):
        inside = (mass[reach.abs() <= r].sum() / mass.sum()) ** 2
        assert bool(1 - inside <= tolerance) == fits


@pytest.mark.parametrize("dims", [1, 2, 3, 5])
def test_the_lattices_transpose_is_its_transpose(dims):
    generator = torch.Generator().manual_seed(dims)
    features = torch.randn(60, dims, generator=generator, dtype=torch.float64) * 2
    lattice = Lattice(features)
    identity = torch.eye(60, dtype=torch.float64)
    matrix = lattice.apply(identity)
    torch.testing.assert_close(lattice.transpose(identity), matrix.T)
    assert (matrix >= 0).all()
    near = (-0.5 * torch.cdist(features, features).square()).exp()
    normalised = [m / m.sum(1, keepdim=True) for m in (matrix, near)]
    values = torch.rand(60, 4, generator=generator, dtype=torch.float64)
    found, want = (m @ values for m in normalised)
    assert (found - want).norm() < 0.12 * want.norm()


@pytest.mark.parametrize("theta", [(49, 13, 20), (80, 13, 30)])
def test_large_bandwidths_take_the_lattice_and_err_by_little(theta):
    unary, image = potentials(7, 40, 52), picture(40, 52)
    q = unary.softmax(0)
    first, _ = dense_kernels(image, theta)
    want = (first @ q.flatten(1).T).T
    found = (mean_field(unary, image, (1, 0), theta, 1) - unary).flatten(1)
    assert torch.equal(found, (mean_field(unary, image, (1, 0), theta, 1, method="lattice") - unary).flatten(1))
    assert (found - want).norm() < 0.06 * want.norm()
