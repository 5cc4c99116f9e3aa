import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partwise.ops.flow import centred_mean, consistency_mask, enlarge_flow, flip_flow, resize_flow, sample_flow, warp


def constant_flow(dx, dy, height, width, batch=1):
    return torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand(batch, 2, height, width)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("size", [(8, 8), (37, 64), (128, 96)])
def test_zero_flow_is_the_identity(size, padding):
    x = torch.rand(2, 3, *size)
    assert (warp(x, torch.zeros(2, 2, *size), padding) - x).abs().max() < 2e-4


@given(st.integers(-9, 9), st.integers(-9, 9))
@settings(max_examples=25, deadline=None)
def test_integer_shift_reads_the_pixel_it_points_at(dx, dy):
    x = torch.rand(1, 2, 40, 56)
    warped = warp(x, constant_flow(dx, dy, 40, 56))
    expected = torch.zeros_like(x)
    for y in range(40):  # backward warping: output p reads input p + flow
        for c in range(56):
            if 0 <= y + dy < 40 and 0 <= c + dx < 56:
                expected[0, :, y, c] = x[0, :, y + dy, c + dx]
    assert (warped - expected).abs().max() < 2e-4


def test_half_pixel_shift_is_the_mean_of_neighbours():
    x = torch.rand(1, 1, 5, 9)
    warped = warp(x, constant_flow(0.5, 0, 5, 9))
    assert torch.allclose(warped[..., :-1], (x[..., :-1] + x[..., 1:]) / 2, atol=2e-4)


def test_border_padding_repeats_the_edge():
    x = torch.rand(1, 1, 6, 6)
    assert torch.allclose(warp(x, constant_flow(-20, 0, 6, 6), "border"), x[..., :1].expand_as(x), atol=2e-4)


def test_gradients_of_values_and_flow():
    torch.manual_seed(0)
    x = torch.rand(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    # away from integer positions, where bilinear sampling has kinks
    flow = (torch.rand(1, 2, 6, 7, dtype=torch.float64) * 0.4 + 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: warp(a, b, "border"), (x, flow))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_rounds_values_but_not_places(dtype, autocast):
    x = torch.randint(0, 100, (1, 3, 4, 200)).to(dtype)
    flow = torch.zeros(1, 2, 4, 200, dtype=dtype)
    flow[:, 0] = 0.25
    with torch.autocast("cpu", torch.bfloat16, autocast):
        warped = warp(x, flow)
    wide = warp(x.double(), flow.double())
    assert warped.dtype == dtype
    torch.testing.assert_close(warped.double(), wide, rtol=torch.finfo(dtype).eps, atol=2e-2)


def test_a_misfitting_flow_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        warp(torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 4, 4))


def test_resizing_a_flow_rescales_its_values():
    small = resize_flow(constant_flow(8.0, -4.0, 16, 32), (8, 8))
    assert torch.allclose(small[0, 0], torch.tensor(2.0))
    assert torch.allclose(small[0, 1], torch.tensor(-2.0))


def linear_flow(height, width, stride=1):
    """What pixels `stride` * i of the images move by, in those images' pixels."""
    y, x = torch.meshgrid(stride * torch.arange(height), stride * torch.arange(width), indexing="ij")
    return torch.stack([1 + 0.1 * x - 0.05 * y, 2 - 0.02 * x + 0.03 * y]).float()[None]


@pytest.mark.parametrize("size", [(33, 17), (9, 65)])
def test_corner_aligned_grids_carry_a_linear_flow_exactly(size):
    small = resize_flow(linear_flow(*size), tuple((side - 1) // 8 + 1 for side in size), align_corners=True)
    torch.testing.assert_close(8 * small, linear_flow(*small.shape[-2:], stride=8))
    torch.testing.assert_close(resize_flow(small, size, align_corners=True), linear_flow(*size))


@pytest.mark.parametrize("size", [(33, 17), (32, 20), (31, 18), (1, 5)])
def test_a_strided_grid_is_enlarged_without_a_shift(size):
    coarse = [-(-side // 4) for side in size]
    flow = enlarge_flow(linear_flow(*coarse, stride=4) / 4, size, 4)
    assert flow.shape[-2:] == size
    inside = tuple(slice(4 * (side - 1) + 1) for side in coarse)  # behind the last pixel nothing is known
    torch.testing.assert_close(flow[..., *inside], linear_flow(*size)[..., *inside])


@pytest.mark.parametrize("size", [(33, 17), (32, 20), (8, 8), (81, 41)])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_a_centred_mean_keeps_a_linear_flow_where_its_windows_fit(size, stride):
    small = centred_mean(linear_flow(*size), stride)
    assert small.shape[-2:] == tuple(-(-side // stride) for side in size)
    inside = tuple(slice(1, (side - 1 - stride // 2) // stride + 1) for side in size)
    torch.testing.assert_close(small[..., *inside], linear_flow(*small.shape[-2:], stride=stride)[..., *inside])


def test_flipping_a_flow_equals_the_flow_of_flipped_frames():
    torch.manual_seed(0)
    x, flow = torch.rand(1, 3, 12, 20), torch.randn(1, 2, 12, 20)
    assert torch.allclose(warp(x, flow).flip(-1), warp(x.flip(-1), flip_flow(flow)), atol=2e-4)
    assert torch.equal(flip_flow(flip_flow(flow)), flow)


def test_consistency_of_a_square_that_moves_over_a_still_ground():
    forward, backward = torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32)
    forward[:, 0, 10:20, 5:15] = 8.0  # t -> s: the square moves right by 8
    backward[:, 0, 10:20, 13:23] = -8.0
    visible = consistency_mask(forward, backward)[0, 0]
    assert visible[10:20, 5:15].all()
    assert not visible[10:20, 15:23].any()  # ground of t that the square covers in s
    assert visible[0:9].all()


def test_consistency_fails_where_the_flow_leaves_the_image():
    assert not consistency_mask(constant_flow(40, 0, 16, 16), constant_flow(-40, 0, 16, 16)).any()


def test_a_flow_is_sampled_between_pixels_and_held_beyond_the_border():
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing="ij")
    flow = torch.stack([2 * x - y, 0.5 * y + 1])[None].repeat(2, 1, 1, 1)
    places = torch.tensor([[0.0, 0.0], [3.25, 7.5], [19.0, 11.0], [-5.0, 4.0]]).expand(2, -1, -1)
    want = torch.tensor([[0.0, 1.0], [-1.0, 4.75], [27.0, 6.5], [-4.0, 3.0]]).expand(2, -1, -1)
    torch.testing.assert_close(sample_flow(flow, places), want, atol=1e-4, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sample_flow(flow, places), want, atol=1e-4, rtol=1e-4)
