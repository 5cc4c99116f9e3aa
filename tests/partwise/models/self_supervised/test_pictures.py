import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from partwise import viz
from partwise.models.self_supervised.found import Foreground, Found, Pose
from partwise.models.self_supervised.pictures import (
    DISAGREE,
    INSERTED,
    LEAVE,
    OPEN,
    REPLACED,
    Shown,
    draw_flow,
    draw_masks,
    draw_refined_joints,
    draw_unreliable,
    plot_labels,
)
from partwise.models.self_supervised.tpr import Corrected
from partwise.ops.resize import Letterbox

IMAGE = np.full((20, 30, 3), 128, np.uint8)


def new_axes():
    return Figure().subplots()


def drawn(axis):
    return np.asarray(axis.images[0].get_array())


def corrected():
    """Four vectors of 600 that disagree, thirty that leave the picture."""
    flow = torch.zeros(2, 20, 30)
    valid, unreliable = torch.ones(1, 20, 30, dtype=torch.bool), torch.zeros(1, 20, 30, dtype=torch.bool)
    valid[0, 0], unreliable[0, 5, 3:7] = False, True
    return Corrected(flow, valid, unreliable)


def poses(count):
    """Persons of joints 0 to 16 in a row each; joint 16 is missing."""
    x, y = torch.meshgrid(torch.arange(17.0), torch.arange(float(count)) * 5, indexing="xy")
    found = torch.stack([x, y, torch.ones_like(x)], -1)
    found[:, 16] = 0
    return found


def refined():
    """Two persons that were found and one that was inserted; joints 1 and 16 of the first are repaired."""
    replaced = torch.zeros(3, 17, dtype=torch.bool)
    replaced[0, [1, 16]] = replaced[2, :9] = True
    now = poses(3)
    now[0, 16], now[2, 9:] = torch.tensor([16.0, 0, 1]), 0
    supervises = now[..., 2] > 0
    supervises[1, 4] = False
    return Pose(now, now[..., 2].mean(1), supervises, [poses(2)] * 3, torch.rand(3, 17), replaced)


def test_vectors_that_disagree_or_leave_are_coloured():
    axis = new_axes()
    draw_unreliable(axis, IMAGE, corrected())
    colors = {
        tuple(np.multiply(to_rgb(color), 255).round().astype(int)): n for color, n in ((DISAGREE, 4), (LEAVE, 30))
    }
    assert {color: int((drawn(axis) == color).all(2).sum()) for color in colors} == colors
    assert axis.get_title() == "0.7% of the vectors disagree"


def test_both_flows_have_one_scale():
    flow = torch.zeros(2, 20, 30)
    flow[0] = 2.0
    half, full = new_axes(), new_axes()
    draw_flow(half, flow, 4.0, "flow")
    draw_flow(full, 2 * flow, 4.0, "flow")
    assert drawn(full)[0, 0].tolist() == [255, 0, 0]
    assert drawn(half)[0, 0].tolist() == [255, 128, 128]


def test_repaired_inserted_and_open_joints_have_markers_of_their_own():
    axis = new_axes()
    draw_refined_joints(axis, IMAGE, refined())
    kept, *marked = [c for c in axis.collections if len(c.get_offsets()) and not hasattr(c, "get_segments")]
    counts = {color: len(c.get_offsets()) for c, (_, color) in zip(marked, (REPLACED, INSERTED, OPEN), strict=True)}
    assert counts == {REPLACED[1]: 2, INSERTED[1]: 9, OPEN[1]: 1}
    assert len(kept.get_offsets()) == 15 + 16  # of the two that were found, but the repaired one
    for c, (_, color) in zip(marked, (REPLACED, INSERTED, OPEN), strict=True):
        assert tuple(c.get_facecolor()[0][:3]) == to_rgb(color)
    assert axis.get_title() == "GBSR: 2 repaired, 1 persons inserted"


def test_masks_have_the_colours_of_their_poses():
    logits = torch.zeros(2, 2, 40, 90)
    logits[0, 1, 4:36, 4:36] = logits[1, 1, 4:36, 50:82] = 1.0
    axis = new_axes()
    draw_masks(axis, np.zeros((40, 90, 3), np.uint8), logits, "masks")
    for x, color in ((20, 1), (66, 2)):
        np.testing.assert_allclose(drawn(axis)[20, x], viz.person_colors([color])[0] / 2, atol=1)


def test_a_window_without_persons_is_drawn():
    nobody = torch.zeros(0, 17, 3)
    pose = Pose(nobody, nobody[..., 0].sum(1), nobody[..., 0] > 0, [nobody] * 3, nobody[..., 0], nobody[..., 0] > 0)
    foreground = Foreground(torch.zeros(2, 20, 30), torch.zeros(2, 20, 30), torch.zeros(2, 20, 30), corrected())
    nothing = torch.zeros(0, 2, 20, 30)
    window = Shown("video/3", torch.zeros(3, 3, 20, 30), Found(foreground, pose, nothing), nothing)
    figure = plot_labels([window])
    figure.canvas.draw()
    assert [axis.get_title() for axis in figure.subfigs[0].axes][-2:] == [
        "GBSR: 0 repaired, 0 persons inserted",
        "Eq. 10, refined",
    ]


def test_what_is_found_moves_with_the_margin():
    canvas = Letterbox.fit((20, 30), 30)
    assert canvas.top == 5
    maps = torch.rand(2, 30, 30)
    on_canvas = Corrected(maps, maps[:1] > 0.5, maps[1:] > 0.5)
    pose = refined()
    found = Found(Foreground(maps, 2 * maps, 3 * maps, on_canvas), pose, maps[None]).inside(canvas)
    inner = maps[:, 5:25]
    assert torch.equal(found.persons[0], inner)
    assert torch.equal(found.foreground.logits, inner)
    assert torch.equal(found.foreground.flow, 3 * inner)
    assert torch.equal(found.foreground.corrected.unreliable, inner[1:] > 0.5)
    assert torch.equal(found.pose.poses[..., 1], pose.poses[..., 1] - 5)
    assert torch.equal(found.pose.own[2][..., [0, 2]], pose.own[2][..., [0, 2]])
    assert Found(None, pose, None).inside(canvas)[::2] == (None, None)
