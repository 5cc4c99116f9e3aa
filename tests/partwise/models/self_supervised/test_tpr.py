"""Temporal refinement on scenes whose flow is known: squares that move, and rendered people."""

import pytest
import torch
import torch.nn.functional as F

from data_modules.synthetic.render.renderer import Occlusion, Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.models.self_supervised.tpr import Neighbour, correct_flow, fuse, propagate, pseudo_labels, reliable
from partwise.ops.flow import warp

SIZE = (40, 56)
STEP = (5, 3)  # x and y of the square from frame to frame


def square(t, size=18):
    """Frame (1, 3, H, W) with a textured square before a textured ground, and its labels (1, H, W)."""
    draw = torch.Generator().manual_seed(0)
    frame, inside = (torch.randint(0, 256, (3, *side), generator=draw) for side in (SIZE, (size, size)))
    labels = torch.zeros(SIZE, dtype=torch.long)
    x, y = 12 + STEP[0] * t, 10 + STEP[1] * t
    frame[:, y : y + size, x : x + size], labels[y : y + size, x : x + size] = inside, 1
    return frame[None], labels[None]


def true_flow(labels, steps):
    """The square's flow (1, 2, H, W) over some steps; the ground rests."""
    return torch.stack([labels * STEP[0] * steps, labels * STEP[1] * steps], 1).float()


def scores_of(labels, margin=4.0):
    return margin * F.one_hot(labels, 2).movedim(-1, 1).float()


def end_point_error(flow, truth, where):
    return float((flow - truth).norm(dim=1)[where].mean())


def iou(pred, truth):
    return float((pred & truth).sum() / (pred | truth).sum())


def test_true_flow_is_reliable_but_where_the_ground_is_hidden():
    (_, here), (_, there) = square(1), square(2)
    wrong = ~reliable(here, there, true_flow(here, 1))[:, 0]
    assert torch.equal(wrong, (here == 0) & (there == 1))


def test_vectors_out_of_the_picture_are_not_reliable():
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    flow = torch.zeros(1, 2, 4, 6)
    flow[0, 0, 0], flow[0, 1, 1], flow[0, 0, 2], flow[0, 0, 3, 0] = 2.6, -2.4, 0.4, torch.nan
    expected = torch.tensor([[1, 1, 1, 0, 0, 0], [0] * 6, [1] * 6, [0, 1, 1, 1, 1, 1]]).bool()
    assert torch.equal(reliable(labels, labels, flow)[0, 0], expected)


@pytest.mark.parametrize("search", ["all", "same_label"])
def test_wrong_vectors_at_the_outline_are_found_and_corrected(search):
    (frame, here), (other, there) = square(1), square(2)
    truth = true_flow(here, 1)
    rim = (F.max_pool2d(1.0 - here, 7, 1, 3)[0] > 0) & (here[0] == 1)
    flow = truth.clone()
    flow[:, :, rim] = 0.0  # as the ground moves
    wrong = (~reliable(here, there, flow))[0, 0] & rim
    assert wrong.sum() > 0.3 * rim.sum()
    corrected, valid, unreliable = correct_flow(frame, other, here, there, flow, search=search)
    assert torch.equal(unreliable[0, 0] & rim, wrong)
    inner = wrong & (F.max_pool2d(1.0 - here, 7, 1, 3)[0] > 0)
    before, after = (end_point_error(f, truth, inner[None]) for f in (flow, corrected))
    assert before > 5
    assert after < 0.2 * before
    assert valid[0, 0][inner].all()
    kept = reliable(here, there, flow)
    assert torch.equal(corrected[kept.expand_as(flow)], flow[kept.expand_as(flow)])


def test_wrong_vectors_on_rendered_people_are_corrected():
    before, after = [], []
    for seed in range(3):
        renderer = Renderer(draw_scene(seed, frames=13, severity=0))
        flow, occlusion = renderer.flow(5, 6)
        truth = torch.from_numpy(flow)[None].float()
        (frame, labels), (other, there) = (
            (torch.from_numpy(renderer.clean(t)).permute(2, 0, 1)[None],
             torch.from_numpy(renderer.frame(t).persons > 0)[None].long()) for t in (5, 6)
        )  # fmt: skip
        draw = torch.Generator().manual_seed(seed)
        spoilt = truth + torch.randint(-6, 7, truth.shape, generator=draw)
        visible = torch.from_numpy(occlusion == Occlusion.VISIBLE)[None]
        wrong = ~reliable(labels, there, spoilt)[:, 0] & visible
        corrected, valid, _ = correct_flow(frame, other, labels, there, spoilt)
        wrong &= valid[:, 0]
        before.append(end_point_error(spoilt, truth, wrong))
        after.append(end_point_error(corrected, truth, wrong))
    assert sum(after) < 0.5 * sum(before)


def brute_force(frame_t, frame_s, labels_t, labels_s, flow, search, radius, patch):
    """The same by loops over pixels and candidates."""
    _, _, height, width = frame_t.shape
    half = patch // 2
    here, there = (F.pad(f.float(), [half] * 4, mode="replicate")[0] for f in (frame_t, frame_s))
    result, valid = flow.clone(), torch.ones(1, 1, height, width, dtype=torch.bool)
    steps = [(dy, dx) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
    steps.sort(key=lambda step: step[0] ** 2 + step[1] ** 2)
    for y in range(height):
        for x in range(width):
            at_x, at_y = (int(v) for v in (torch.tensor([x, y]) + flow[0, :, y, x]).round())
            if not (0 <= at_x < width and 0 <= at_y < height):
                valid[0, 0, y, x] = False
                continue
            if labels_s[0, at_y, at_x] == labels_t[0, y, x]:
                continue
            best, valid[0, 0, y, x] = float("inf"), False
            for dy, dx in steps:
                v, u = at_y + dy, at_x + dx
                if not (0 <= u < width and 0 <= v < height):
                    continue
                if search == "same_label" and labels_s[0, v, u] != labels_t[0, y, x]:
                    continue
                own, other = here[:, y : y + patch, x : x + patch], there[:, v : v + patch, u : u + patch]
                cost = float((own - other).abs().sum())
                if cost < best:
                    best, valid[0, 0, y, x] = cost, True
                    result[0, :, y, x] = torch.tensor([u - x, v - y])
    return result, valid


@pytest.mark.parametrize("search", ["all", "same_label"])
@pytest.mark.parametrize(("radius", "patch"), [(3, 5), (2, 1)])
def test_the_search_equals_loops(search, radius, patch):
    draw = torch.Generator().manual_seed(radius)
    frames = torch.randint(0, 4, (2, 1, 3, 17, 21), generator=draw).byte()  # few values: costs are often equal
    labels = torch.randint(0, 9, (2, 1, 17, 21), generator=draw)
    flow = 3 * torch.randn(1, 2, 17, 21, generator=draw)
    given = (frames[0], frames[1], labels[0], labels[1], flow)
    found = correct_flow(*given, search=search, radius=radius, patch=patch)
    expected = brute_force(*given, search, radius, patch)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0])
    assert (~found[1]).any()


def test_samples_of_a_batch_know_nothing_of_each_other():
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 3, 12, 15), generator=draw)
    labels = torch.randint(0, 2, (2, 3, 12, 15), generator=draw)
    flow = 2 * torch.randn(3, 2, 12, 15, generator=draw)
    given = (frames[0], frames[1], labels[0], labels[1], flow)
    together = correct_flow(*given, radius=3)
    for n in range(3):
        alone = correct_flow(*(part[n : n + 1] for part in given), radius=3)
        for whole, part in zip(together, alone, strict=True):
            assert torch.equal(whole[n : n + 1], part)


def test_flow_given_is_not_changed_and_halves_are_widened():
    (frame, here), (other, there) = square(1), square(2)
    flow = torch.zeros(1, 2, *SIZE)
    correct_flow(frame, other, here, there, flow)
    assert not flow.any()
    assert correct_flow(frame, other, here, there, flow.bfloat16())[0].dtype == torch.float32


@pytest.mark.parametrize("search", ["none", "all", "same_label"])
def test_vectors_that_disagree_are_named_whatever_becomes_of_them(search):
    (frame, here), (other, there) = square(1), square(2)
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0, :, :4] = -9.0  # these leave the picture and are no matter of masks
    inside = flow[:, :1] == 0
    found = correct_flow(frame, other, here, there, flow, search=search)
    assert torch.equal(found.unreliable, inside & (here != there)[:, None])
    assert torch.equal((found.flow != flow).any(1, keepdim=True) & ~found.unreliable, torch.zeros_like(inside))


def test_an_even_patch_is_refused():
    (frame, here), (other, there) = square(1), square(2)
    with pytest.raises(ValueError, match="odd"):
        correct_flow(frame, other, here, there, true_flow(here, 1), patch=6)


def test_three_frames_lie_on_the_same_pixels():
    places = [square(t)[1] for t in range(3)]
    logits = [scores_of(labels) for labels in places]
    moved = [warp(logits[s], true_flow(places[1], s - 1)) for s in (0, 2)]
    seen = places[1] == 1
    for other in moved:
        torch.testing.assert_close(other.movedim(1, -1)[seen], logits[1].movedim(1, -1)[seen], atol=1e-2, rtol=0)


def test_the_printed_equation_is_right_to_first_order_only():
    """A flow that varies along x, F(x) = a x: backward it is -a x / (1 + a), printed -a x, about a^2 x less."""
    x = torch.arange(64.0).expand(1, 1, 8, 64)
    errors = []
    for slope in (0.02, 0.04, 0.08):
        ahead = torch.cat([slope * x, torch.zeros_like(x)], 1)  # F_{t-1->t}, on the pixels of t-1
        true = torch.cat([-slope * x / (1 + slope), torch.zeros_like(x)], 1)
        before = Neighbour(x, x.expand(-1, 3, -1, -1), true, back=ahead)
        exact, printed = (
            propagate(torch.zeros_like(x), x.expand(-1, 3, -1, -1), [before], "none", literal=literal).logits
            for literal in (False, True)
        )
        torch.testing.assert_close(exact, x / (1 + slope), atol=1e-2, rtol=1e-3)
        errors.append(float((exact - printed)[0, 0, 4, 50]))
    assert errors == pytest.approx([50 * a * a / (1 + a) for a in (0.02, 0.04, 0.08)], rel=0.05)
    assert errors[2] > 3.5 * errors[1] > 12 * errors[0]


def test_the_printed_equation_misses_a_moving_square():
    places = [square(t)[1] for t in range(2)]
    before, here = (scores_of(labels) for labels in places)
    frames = [square(t)[0] for t in range(2)]
    other = Neighbour(before, frames[0], true_flow(places[1], -1), back=true_flow(places[0], 1))
    fused = [propagate(0 * here, frames[1], [other], "none", literal=literal).logits for literal in (False, True)]
    exact, printed = (logits[:, 1][places[1] == 1] for logits in fused)
    assert (exact > 3.9).all()
    assert (printed < 0.1).float().mean() > 0.2  # where the square has come to, flow on t-1's pixels is the ground's


def test_frames_after_t_are_literal_as_they_are():
    (frame, here), (other, there) = square(1), square(2)
    ahead = [Neighbour(scores_of(there), other, true_flow(here, 1))]
    plain, literal = (propagate(scores_of(here), frame, ahead, literal=literal).logits for literal in (False, True))
    assert torch.equal(plain, literal)


def with_hole(t, side=5):
    """Labels of the square with a hole, in every frame at another place of it."""
    labels = square(t)[1]
    x, y = ((1, 1), (12, 1), (6, 6), (1, 12), (12, 12))[t]
    x, y = x + 12 + STEP[0] * t, y + 10 + STEP[1] * t
    labels[0, y : y + side, x : x + side] = 0
    return labels


@pytest.mark.parametrize("steps", [(-1, 1), (-2, -1, 1, 2)])
def test_a_hole_of_one_frame_is_filled_by_the_others(steps):
    spoilt = [with_hole(t) for t in range(5)]
    truth = square(2)[1]
    near = [Neighbour(scores_of(spoilt[2 + s]), square(2 + s)[0], true_flow(truth, s)) for s in steps]
    refined = propagate(scores_of(spoilt[2]), square(2)[0], near)
    before, after = (iou(labels == 1, truth == 1) for labels in (spoilt[2], pseudo_labels(refined.logits)))
    assert before < 0.93
    assert after > 0.98


def test_a_window_of_two_adds_certainty_where_noise_decides():
    draw = torch.Generator().manual_seed(0)
    (frame, here), (other, there) = square(1), square(2)
    a, b = (scores_of(labels, 2.0) + 2 * torch.randn(1, 2, *SIZE, generator=draw) for labels in (here, there))
    near = [Neighbour(b, other, true_flow(here, 1))]
    refined = pseudo_labels(propagate(a, frame, near).logits)
    assert (refined == here).float().mean() > (a.argmax(1) == here).float().mean() + 0.03


@pytest.mark.parametrize("classes", [2, 5])
def test_candidates_of_the_same_label_change_no_label(classes):
    """Everything added up at a pixel then has its maximum at that pixel's label, so that no mask can be corrected."""
    draw = torch.Generator().manual_seed(classes)
    logits = torch.randn(3, 1, classes, 20, 24, generator=draw)
    frames = torch.rand(3, 1, 3, 20, 24, generator=draw)
    flows = torch.randint(-3, 4, (2, 1, 2, 20, 24), generator=draw).float()
    near = [Neighbour(logits[n + 1], frames[n + 1], flows[n]) for n in range(2)]
    same, free = (propagate(logits[0], frames[0], near, search, radius=2).logits for search in ("same_label", "all"))
    assert torch.equal(pseudo_labels(same), logits[0].argmax(1))
    assert (pseudo_labels(free) != logits[0].argmax(1)).float().mean() > 0.1


def test_what_is_dropped_adds_nothing():
    logits = torch.randn(1, 2, 6, 8)
    other = torch.full((1, 2, 6, 8), torch.pi)
    flow = torch.zeros(1, 2, 6, 8)
    flow[:, 0, :, 5:] = 3.0  # out of the picture
    valid = torch.ones(1, 1, 6, 8, dtype=torch.bool)
    valid[..., 0] = False
    fused = fuse(logits, [other], [flow], [valid])
    assert torch.equal(fused[..., 0], logits[..., 0])
    assert torch.equal(fused[..., 5:], logits[..., 5:])
    torch.testing.assert_close(fused[..., 1:5], logits[..., 1:5] + torch.pi)


def test_a_neighbour_without_the_label_is_dropped():
    (frame, here), (other, _) = square(1), square(2)
    empty = torch.zeros_like(here)
    near = [Neighbour(scores_of(empty, 50.0), other, true_flow(here, 1))]
    refined = propagate(scores_of(here), frame, near, "same_label")
    assert torch.equal(~refined.valid[0][:, 0], here == 1)
    assert torch.equal(refined.logits.movedim(1, -1)[here == 1], scores_of(here).movedim(1, -1)[here == 1])


def test_no_neighbours_leave_the_frame_as_it_is():
    frame, here = square(1)
    refined = propagate(scores_of(here), frame, [])
    assert torch.equal(refined.logits, scores_of(here))
    assert refined.flows == refined.valid == refined.unreliable == []


def test_logits_of_half_precision_are_added_up_in_full():
    (frame, here), (other, there) = square(1), square(2)
    near = [Neighbour(scores_of(there).bfloat16(), other, true_flow(here, 1))]
    assert propagate(scores_of(here).bfloat16(), frame, near).logits.dtype == torch.float32
