"""Alignments of poses that are known, the rules by which templates count, and maps aligned and back."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from partwise.ops.affine_align import (
    Alignment,
    align_poses,
    compose,
    draw_similarities,
    fit_similarity,
    invert,
    make_templates,
    rescaling,
    sample,
    transform,
    with_mirrored,
)

CANVAS, SIZE = (96, 128), 32


def some_templates(count=3, seed=0):
    """Joints in the unit square; all seen."""
    templates = torch.rand(count, 17, 3, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1
    templates[..., 2] = 2
    return templates


def similarity(turn=0.0, scale=1.0, x=0.0, y=0.0):
    re, im = scale * math.cos(turn), scale * math.sin(turn)
    return torch.tensor([[re, -im, x], [im, re, y]], dtype=torch.float64)


def posed(template, matrix):
    """The pose that `matrix`, from the unit square to the canvas, makes of a template."""
    points = transform(matrix, template[..., :2].double())
    return torch.cat([points, template[..., 2:].double()], -1).float()


def letterboxed():
    return torch.tensor([[0.25, 0, -0.375], [0, 0.25, 3.625]])


def test_a_similarity_is_recovered_whatever_its_turn_and_missing_points_do_not_count():
    generator = torch.Generator().manual_seed(1)
    source = torch.rand(20, 9, 2, generator=generator, dtype=torch.float64)
    matrices = torch.stack([similarity(0.7 * n, 0.2 + n, 5.0 * n, -3.0) for n in range(20)])
    target = transform(matrices, source)
    weights = (torch.rand(20, 9, generator=generator) > 0.5).double()
    weights[:, :2] = 1
    torch.testing.assert_close(fit_similarity(source, target + 99 * (1 - weights[..., None]), weights), matrices)


def test_a_fit_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(2)
    source, target = torch.rand(2, 7, 2, generator=generator, dtype=torch.float64)
    rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in source.tolist()]  # of re, im and the shift
    re, im, x, y = torch.linalg.lstsq(torch.tensor(rows).view(-1, 4).double(), target.view(-1, 1)).solution[:, 0]
    want = torch.stack([re, -im, x, im, re, y]).view(2, 3)
    torch.testing.assert_close(fit_similarity(source, target, torch.ones(7, dtype=torch.float64)), want)


@pytest.mark.parametrize("row", range(6))
def test_the_right_template_is_found_and_its_joints_coincide(row):
    templates = with_mirrored(some_templates())
    pose = posed(templates[row], similarity(2.1, 40.0, 60, 30))
    found = align_poses(pose[None], templates, CANVAS, SIZE)
    assert found.templates.tolist() == [row]
    assert found.scores[0] == pytest.approx(1, abs=1e-6)
    places = transform(found.matrices[0], pose[:, :2])
    torch.testing.assert_close(places, templates[row, :, :2] * SIZE - 0.5, atol=1e-3, rtol=0)


def plain_score(pose, template):
    """By the definition, with the fit that is tested above."""
    has, wanted = pose[:, 2] > 0, template[:, 2] > 0
    common = has & wanted
    matrix = fit_similarity(pose[common, :2].double(), template[common, :2].double(), torch.ones(int(common.sum())))
    error = (transform(matrix, pose[common, :2].double()) - template[common, :2]).square().sum(-1) / 2
    whole = SIZE / max(CANVAS)
    counts = common.sum() >= 3 and not (has & ~wanted).any() and SIZE * matrix[0, :2].norm() > whole
    return float((-error).exp().mean() * common.sum() / (has | wanted).sum()) if counts else 0.0


def test_scores_are_those_of_a_loop_over_poses_and_templates():
    generator = torch.Generator().manual_seed(3)
    templates, poses = some_templates(5), some_templates(24, seed=4)
    for each, share in ((templates, 0.9), (poses, 0.4)):
        each[..., 2] = 2.0 * (torch.rand(each.shape[:2], generator=generator) < share)
    poses[..., :2] *= torch.rand(24, 1, 1, generator=generator) * 100
    found = align_poses(poses, templates, CANVAS, SIZE)
    scores = torch.tensor([[plain_score(pose, template) for template in templates] for pose in poses])
    best, row = scores.max(1)
    torch.testing.assert_close(found.scores, best.float())
    assert torch.equal(found.templates, row.where(best > 0, -1))
    assert 0 < (best == 0).sum() < 24


def check_whole(found: Alignment):
    assert found.templates.tolist() == [-1]
    assert found.scores.tolist() == [0]
    torch.testing.assert_close(found.matrices[0], letterboxed())


def test_two_common_joints_are_too_few():
    template, matrix = some_templates(1), similarity(0.3, 40.0, 60, 30)
    pose = posed(template[0], matrix)
    pose[2:, 2] = 0
    check_whole(align_poses(pose[None], template, CANVAS, SIZE))
    pose[2, 2] = 2
    assert align_poses(pose[None], template, CANVAS, SIZE).templates.tolist() == [0]


def test_a_template_that_lacks_a_joint_of_the_pose_does_not_count():
    template = some_templates(1)
    pose = posed(template[0], similarity(0.3, 40.0, 60, 30))
    template[0, 16] = 0
    check_whole(align_poses(pose[None], template, CANVAS, SIZE))
    pose[16, 2] = 0
    assert align_poses(pose[None], template, CANVAS, SIZE).scores[0] == pytest.approx(1, abs=1e-5)


def test_of_templates_that_fit_equally_the_one_with_fewer_other_joints_is_taken():
    template = some_templates(1)
    fewer = template.clone()
    fewer[0, 10:] = 0
    pose = posed(fewer[0], similarity(0.3, 40.0, 60, 30))
    found = align_poses(pose[None], torch.cat([template, fewer]), CANVAS, SIZE)
    assert found.templates.tolist() == [1]


def test_people_larger_than_the_canvas_are_not_shrunk_to_the_template():
    template = some_templates(1)
    check_whole(align_poses(posed(template[0], similarity(0, 129.0))[None], template, CANVAS, SIZE))
    assert align_poses(posed(template[0], similarity(0, 127.0))[None], template, CANVAS, SIZE).templates.tolist() == [0]


@pytest.mark.parametrize("place", [0.0, 50.0])
def test_joints_in_one_place_and_missing_poses_take_the_whole_canvas(place):
    pose = torch.full((1, 17, 3), place)
    check_whole(align_poses(pose, some_templates(), CANVAS, SIZE))
    assert align_poses(pose[:0], some_templates(), CANVAS, SIZE).matrices.shape == (0, 2, 3)


def test_matrices_compose_and_invert():
    a, b = similarity(0.4, 3.0, 1, 2), similarity(-1.0, 0.5, -7, 4)
    points = torch.rand(5, 2, dtype=torch.float64)
    torch.testing.assert_close(transform(compose(a, b), points), transform(a, transform(b, points)))
    torch.testing.assert_close(transform(compose(invert(a), a), points), points)
    # Pixel 0 of a grid of half the size covers pixels 0 and 1, whose middle is 0.5.
    torch.testing.assert_close(
        transform(invert(rescaling((8, 6), (4, 3), points)), 0 * points[:1]), points[:1] * 0 + 0.5
    )


def test_coordinates_keep_their_precision_in_mixed_precision():
    templates, pose = some_templates(), posed(some_templates()[1], similarity(0.3, 900.0, 700, 800))
    found = align_poses(pose[None], templates, (4000, 4000), SIZE).matrices
    there = transform(compose(found, found), pose[:, :2])
    with torch.autocast("cpu", torch.bfloat16):
        again = align_poses(pose[None], templates, (4000, 4000), SIZE).matrices
        assert torch.equal(again, found)
        assert torch.equal(transform(compose(again, again), pose[:, :2]), there)
        torch.testing.assert_close(compose(invert(again), again)[0], torch.eye(3)[:2], atol=1e-4, rtol=0)
        drawn = draw_similarities(9, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, draw_similarities(9, 64, generator=torch.Generator().manual_seed(0)))


def smooth_mask():
    ys, xs = torch.meshgrid(torch.arange(96.0), torch.arange(128.0), indexing="ij")
    return ((-((xs - 60) ** 2) / 450 - (ys - 50) ** 2 / 800).exp())[None, None]


def test_the_identity_and_a_shift_are_exact():
    x = torch.rand(2, 3, 7, 9)
    torch.testing.assert_close(sample(x, similarity().expand(2, -1, -1), (7, 9)), x)
    torch.testing.assert_close(sample(x, similarity(x=2, y=1).expand(2, -1, -1), (6, 7)), x[..., 1:, 2:])
    assert not sample(x, similarity(x=20).expand(2, -1, -1), (7, 9)).any()


def test_a_mask_aligned_and_back_is_the_mask_up_to_interpolation():
    matrix = torch.stack([compose(similarity(a, 0.8, *((63.5, 63.5))), similarity(0, 1, -60, -50)) for a in (0.0, 0.9)])
    mask = smooth_mask().expand(2, -1, -1, -1)
    aligned = sample(mask, invert(matrix), (128, 128))
    back = sample(aligned, matrix, CANVAS)
    assert (back - mask)[..., 3:-3, 3:-3].abs().max() < 0.01  # beyond the border is 0
    before, after = mask >= 0.5, back >= 0.5
    assert (before & after).sum() / (before | after).sum() > 0.99
    assert (aligned[0] - aligned[1]).abs().max() > 0.1


def test_sampling_has_gradients_and_keeps_half_precision_out_of_coordinates():
    x = torch.rand(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    matrices = torch.stack([similarity(0.3, 0.7, 0.4, 0.3), similarity(-0.2, 1.1)])
    assert gradcheck(lambda x: sample(x, matrices, (3, 4)), (x,))
    wide = torch.arange(600.0).view(1, 1, 1, -1)
    with torch.autocast("cpu", torch.bfloat16):
        moved = sample(wide, similarity(x=0.25)[None].float(), (1, 598))
    torch.testing.assert_close(moved[0, 0, 0], torch.arange(598.0) + 0.25, atol=1e-3, rtol=0)


def test_drawn_similarities_turn_about_the_middle_within_their_bounds():
    drawn = draw_similarities(2000, 64, generator=torch.Generator().manual_seed(0))
    scale = drawn[:, 0, :2].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    shift = transform(drawn, torch.full((1, 2), 31.5))[:, 0] - 31.5
    for values, limit in ((scale - 1, 0.2), (angle, 30.0), (shift, 6.4)):
        assert 0.95 * limit < values.max() <= limit * 1.001
        assert 0.95 * limit < -values.min() <= limit * 1.001
    torch.testing.assert_close(drawn[:, 0, 0], drawn[:, 1, 1])


def test_templates_of_poses_in_three_clusters_are_their_means():
    """Each is its own mirror image, so that flips add nothing."""
    pairs = [(0, 0), *((n, n + 1) for n in range(1, 17, 2))]
    centres = some_templates(3, seed=5)
    for left, right in pairs:
        centres[:, right] = centres[:, left]
        centres[:, right, 0] = 1 - centres[:, left, 0]
    centres[:, 0, 0] = 0.5
    centres[1, 11:] = 0  # an upper body
    which = torch.tensor([0] * 12 + [1] * 9 + [2] * 6)
    moves = torch.stack([similarity(0, 50.0 + n, 3.0 * n, 7) for n in range(27)])
    poses = torch.stack([posed(centres[c], m) for c, m in zip(which, moves, strict=True)])
    poses[3, 5, 2] = 0  # one of twelve lacks a joint; the others tell where it is
    low, high = (transform(moves, torch.full((1, 2), edge, dtype=torch.float64))[:, 0] for edge in (0.0, 1.0))
    boxes = torch.cat([low + 0.5, high + 0.5], 1)
    few = torch.zeros(1, 17, 3)
    few[0, :7] = 2
    made = make_templates(torch.cat([poses, few]), torch.cat([boxes, boxes[:1]]))
    assert torch.equal(made[..., 2], centres[..., 2])
    seen = centres[..., 2] > 0
    torch.testing.assert_close(made[seen], centres[seen], atol=1e-4, rtol=0)
    assert torch.equal(made, make_templates(torch.cat([poses, few]), torch.cat([boxes, boxes[:1]])))
    with pytest.raises(ValueError, match="here are 2"):
        make_templates(poses[:2], boxes[:2])
