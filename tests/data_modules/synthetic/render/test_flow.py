"""Flow: moving frame s by it gives frame t wherever it says that t is visible."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.synthetic.render.renderer import Occlusion, Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.ops.flow import warp

pairs = st.tuples(st.integers(0, 12), st.integers(0, 12))
few = settings(max_examples=15, deadline=None, derandomize=True)


def scene(seed, **parameters):
    return draw_scene(seed, frames=13, severity=0, **parameters)


def as_tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@given(st.integers(0, 2**31), pairs)
@few
def test_warping_reproduces_what_is_visible(seed, pair):
    t, s = pair
    renderer = Renderer(scene(seed))
    flow, occlusion = renderer.flow(t, s)
    moved = warp(as_tensor(renderer.clean(s)), torch.from_numpy(flow)[None])
    error = (moved - as_tensor(renderer.clean(t))).abs().mean(1)[0].numpy()
    assert error[occlusion == Occlusion.VISIBLE].mean() < 0.02


def test_warping_error_on_average():
    errors = []
    for seed in range(12):
        renderer = Renderer(scene(seed))
        flow, occlusion = renderer.flow(6, 8)
        moved = warp(as_tensor(renderer.clean(8)), torch.from_numpy(flow)[None])
        error = (moved - as_tensor(renderer.clean(6))).abs().mean(1)[0].numpy()
        errors.append(error[occlusion == Occlusion.VISIBLE].mean())
    assert np.mean(errors) < 0.01


@given(st.integers(0, 2**31), pairs)
@few
def test_labels_and_persons_move_with_the_flow(seed, pair):
    t, s = pair
    renderer = Renderer(scene(seed))
    flow, occlusion = renderer.flow(t, s)
    here, there = renderer.frame(t), renderer.frame(s)
    rows, columns = np.nonzero(occlusion == Occlusion.VISIBLE)
    x = (columns + flow[0, rows, columns]).round().astype(int)
    y = (rows + flow[1, rows, columns]).round().astype(int)
    for name in ("anatomy", "garment", "side", "persons"):
        same = getattr(here, name)[rows, columns] == getattr(there, name)[y, x]
        assert same.mean() > 0.9999  # float32 rounds a few targets to the next pixel


@given(st.integers(0, 2**31), pairs)
@few
def test_forward_and_backward_flow_undo_each_other(seed, pair):
    t, s = pair
    renderer = Renderer(scene(seed))
    forward, occlusion = renderer.flow(t, s)
    backward, _ = renderer.flow(s, t)
    rows, columns = np.nonzero(occlusion == Occlusion.VISIBLE)
    x = (columns + forward[0, rows, columns]).round().astype(int)
    y = (rows + forward[1, rows, columns]).round().astype(int)
    gap = np.hypot(*(forward[:, rows, columns] + backward[:, y, x]))
    # Rounding to a pixel costs half of it times how much the flow varies from one to the next.
    assert np.median(gap) < 0.1
    assert np.quantile(gap, 0.99) < 0.75


def test_flow_to_the_same_frame_is_zero():
    flow, occlusion = Renderer(scene(1)).flow(4, 4)
    np.testing.assert_allclose(flow, 0, atol=1e-4)
    assert not occlusion.any()


def test_people_move_a_few_pixels():
    speeds = []
    for seed in range(12):
        renderer = Renderer(scene(seed))
        flow, _ = renderer.flow(6, 7)
        people = renderer.frame(6).persons > 0
        speeds.append(np.quantile(np.hypot(*flow)[people], 0.95) if people.any() else np.nan)
    assert 1 < np.nanmedian(speeds) < 8


@pytest.mark.parametrize(
    ("domain", "kinds"),
    [("crowd", {Occlusion.SELF, Occlusion.PERSON, Occlusion.OBJECT, Occlusion.OUTSIDE}), ("single", {Occlusion.SELF})],
)
def test_all_kinds_of_occlusion_occur(domain, kinds):
    found = set()
    for seed in range(4):
        _, occlusion = Renderer(scene(seed, domain=domain)).flow(2, 10)
        found |= set(np.unique(occlusion).tolist())
    assert found >= kinds


def test_only_persons_and_props_that_exist_occlude():
    for seed in range(4):
        alone = replace(scene(seed, domain="single"), props=())
        renderer = Renderer(alone)
        _, occlusion = renderer.flow(2, 10)
        assert not (occlusion == Occlusion.OBJECT).any()
        assert not (occlusion == Occlusion.PERSON)[renderer.frame(2).persons > 0].any()
