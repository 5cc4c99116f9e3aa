import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from partwise import viz
from partwise.models.self_supervised.found import Foreground, Found, Pose
from partwise.models.self_supervised.panels import (
    DISAGREE,
    INSERTED,
    LEAVE,
    OPEN,
    REPLACED,
    draw_flow,
    draw_masks,
    draw_refined_joints,
    draw_unreliable,
    draw_visibilities,
)
from partwise.models.self_supervised.pictures import Shown, plot_correction, plot_labels, plot_matches, plot_rounds
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
    assert axis.get_title() == "GBSR: repaired joints 2, inserted persons 1"


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
        "GBSR: repaired joints 0, inserted persons 0",
        "Eq. 10, refined",
    ]


def test_visibilities_are_shown_of_joints_that_were_found():
    axis, pose = new_axes(), refined()
    draw_visibilities(axis, pose, "visibilities")
    shown = axis.images[0].get_array()
    assert shown.mask.tolist() == [[False] * 16 + [True], [False] * 16 + [True], [True] * 17]
    np.testing.assert_array_equal(shown.data, pose.visible)
    places = {
        marker[1]: c.get_offsets().tolist()
        for marker, c in zip((REPLACED, INSERTED, OPEN), axis.collections, strict=True)
    }
    assert places["red"] == [[1, 0], [16, 0]]
    assert places["white"] == [[4, 1]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["person 1", "person 2", "person 3"]


def test_errors_of_the_flow_are_those_to_the_truth():
    found = Foreground(torch.zeros(2, 20, 30), torch.zeros(2, 20, 30), torch.zeros(2, 20, 30), corrected())
    found.corrected.flow[:, 5, 3:7] = torch.tensor([3.0, 4.0])[:, None]
    window = Shown("video/3", torch.zeros(3, 3, 20, 30), Found(found, None, None))
    figure = plot_correction(window, torch.zeros(2, 20, 30))
    before, after = (axis.get_title() for axis in figure.axes[-2:])
    assert before == "end-point error before: 0.00 px\nwhere they disagreed: 0.00 px"
    assert after == "end-point error after: 0.03 px\nwhere they disagreed: 5.00 px"


def test_poses_of_three_frames_are_drawn_beside_each_other():
    window = Shown("video/3", torch.rand(3, 3, 20, 30), Found(None, refined(), None))
    figure = plot_matches(window)
    figure.canvas.draw()
    titles = [axis.get_title() for axis in figure.subfigs[0].axes]
    assert titles == ["frame before", "Pose Module, visibility by GBSR", "GBSR: repaired joints 2, inserted persons 1",
                      "frame after"]  # fmt: skip


def test_rounds_are_compared_with_the_truth():
    truth = torch.zeros(2, 20, 30, dtype=torch.bool)
    truth[0, :10], truth[1, :, 20:] = True, True
    right = torch.stack([~truth.any(0), truth.any(0)]).float()
    half = torch.stack([~truth[0], truth[0]]).float()
    persons = torch.stack([~truth, truth], 1).float()
    figure = plot_rounds(torch.zeros(3, 20, 30), [half, right], [persons, persons], truth)
    above = [axis.get_title() for axis in figure.axes[:3]]
    assert above == ["before: foreground, IoU 75.0%", "round 1: foreground, IoU 100.0%", "truth"]
    np.testing.assert_array_equal(drawn(figure.axes[4]), drawn(figure.axes[5]))


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
