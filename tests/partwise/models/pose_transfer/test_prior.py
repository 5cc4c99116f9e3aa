"""Parts carried from pose to pose: where they land, merging, averaging, and the drawn skeleton."""

from dataclasses import replace

import pytest
import torch
from posed_people import SIZE, STANDING, drawn, skeleton, turned

from partwise.models.pose_transfer.library import make_library
from partwise.models.pose_transfer.prior import _average_batched, _average_each, morph, part_prior, skeleton_map

PERSON = skeleton()
APART = replace(PERSON, classes=PERSON.parts, merged=tuple(range(10)))
SIZES = torch.tensor([SIZE])


def morphed(library, index, pose, size=SIZE, **options):
    return morph(library, torch.tensor([index]), pose[None], SIZES, size, **options)[0]


def iou(a, b):
    return ((a > 0) & (b > 0)).sum().item() / max(((a > 0) | (b > 0)).sum().item(), 1)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("change", [{"degrees": 40.0, "scale": 0.8}, {"jitter": 6.0}, {"degrees": -70, "scale": 1.1}])
def test_a_limb_lands_on_the_targets(part, change, batched):
    target = turned(**change, seed=part)
    target[:, :2] += 60  # within the canvas
    library = make_library([drawn(APART, STANDING, part)], APART)
    canvas = (300, 300)
    masks = morph(library, torch.tensor([0]), target[None], torch.tensor([canvas]), canvas, batched=batched)[0]
    assert masks.sum((1, 2)).nonzero().tolist() == [[part]]
    points = masks[part].nonzero().flip(1).float()  # x, y
    start, end = APART.ends(target[None])[0][0, part]
    torch.testing.assert_close(points.mean(0), (start + end) / 2, atol=0.5, rtol=0)
    length = (end - start).norm()
    along = (points - start) @ (end - start) / length
    grown = length / (APART.ends(STANDING[None])[0][0, part].diff(dim=0).norm())
    assert abs(along.min()) <= 0.5 + 0.5 * grown  # half a pixel of either grid
    assert abs(along.max() - length) <= 0.5 + 0.5 * grown


@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("batched", [False, True])
def test_a_person_on_its_own_pose_stays_as_it_is(batched, sampling):
    source = drawn(APART, turned(25))
    masks = morphed(make_library([source], APART), 0, source.pose, batched=batched, sampling=sampling)
    for part, mask in enumerate(masks, 1):
        assert iou(mask > 0.5, source.parts == part) > (0.98 if sampling == "bilinear" else 0.9999)


@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
def test_each_alone_as_all_at_once(sampling):
    people = [drawn(PERSON, turned(jitter=4, seed=s)) for s in range(4)]
    library = make_library([p._replace(parts=p.parts[: 200 - 9 * n]) for n, p in enumerate(people)], PERSON)
    indices = torch.tensor([2, 0, -1, 3, 1])
    poses = torch.stack([turned(10 * s, 0.9, 3, s) for s in range(5)])
    sizes = torch.tensor([[200, 120], [200, 120], [190, 100], [150, 150], [200, 120]])
    options = {"size": (128, 96), "sampling": sampling}
    batched = morph(library, indices, poses, sizes, batched=True, **options)
    each = morph(library, indices, poses, sizes, batched=False, **options)
    assert (batched.float() - each.float()).abs().mean() < (1e-3 if sampling == "bilinear" else 3e-4)
    for n in range(5):
        alone = morph(library, indices[n : n + 1], poses[n : n + 1], sizes[n : n + 1], **options)
        assert torch.equal(alone[0], each[n])
    assert each[2].sum() == 0


def test_a_stretched_canvas_shows_the_stretched_crop():
    person = drawn(PERSON, STANDING)
    library = make_library([person], PERSON)
    whole, stretched = morphed(library, 0, STANDING), morphed(library, 0, STANDING, size=(400, 360))
    enlarged = whole.repeat_interleave(2, 1).repeat_interleave(3, 2)
    assert iou(stretched, enlarged) > 0.99


def test_left_and_right_are_merged_by_the_maximum():
    people = [drawn(PERSON, turned(jitter=5, seed=s)) for s in range(3)]
    sides = morphed(make_library(people, APART), 1, STANDING)
    merged = morphed(make_library(people, PERSON), 1, STANDING)
    pairs = [[0], [1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert torch.equal(merged, torch.stack([sides[p].amax(0) for p in pairs]))


@pytest.mark.parametrize("joint", [13, 14])  # left shoulder and elbow
@pytest.mark.parametrize("of_target", [False, True])
def test_a_part_without_its_limb_is_left_out(joint, of_target):
    poses = [STANDING.clone(), STANDING.clone()]
    poses[of_target][joint] = 0
    masks = morphed(make_library([drawn(APART, STANDING)._replace(pose=poses[0])], APART), 0, poses[1])
    gone = {13: {2}, 14: {2, 4}}[joint]
    assert {p for p in range(10) if masks[p].sum() == 0} == gone


@pytest.mark.parametrize("of_target", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_a_limb_shorter_than_a_pixel_is_left_out(of_target, batched):
    poses = [STANDING.clone(), STANDING.clone()]
    poses[of_target][15, :2] = poses[of_target][14, :2] + 0.3
    source = drawn(APART, STANDING)._replace(pose=poses[0])
    masks = morphed(make_library([source], APART), 0, poses[1], batched=batched)
    assert [p for p in range(10) if masks[p].sum() == 0] == [4]


def test_a_prior_is_the_mean_over_those_that_are_there():
    library = make_library([drawn(PERSON, turned(jitter=5, seed=s)) for s in range(3)], PERSON)
    neighbours = torch.tensor([[0, 1, 2], [2, 0, -1], [-1, -1, -1]])
    poses, sizes = STANDING.expand(3, 16, 3), SIZES.expand(3, 2)
    prior = part_prior(library, neighbours, poses, sizes, SIZE)
    assert prior.shape == (3, 6, *SIZE)
    assert prior.dtype == torch.float32
    each = torch.stack([morphed(library, n, STANDING) for n in range(3)]).float()
    torch.testing.assert_close(prior[0], each.mean(0))
    torch.testing.assert_close(prior[1], each[[0, 2]].mean(0))
    assert prior[2].sum() == 0


@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("k", [1, 3])
def test_one_canvas_for_all_neighbours_gives_what_a_batch_gives(sampling, k):
    library = make_library([drawn(PERSON, turned(jitter=5, seed=s)) for s in range(4)], PERSON)
    neighbours = torch.randint(-1, 4, (11, k), generator=torch.Generator().manual_seed(0))  # more than one batch
    poses = torch.stack([turned(degrees=3.0 * n, jitter=4, seed=n) for n in range(11)])
    sizes, size = torch.tensor([[SIZE[0] + n, SIZE[1]] for n in range(11)]), (64, 80)
    each, batch = torch.empty(2, 11, 6, *size)
    for average, into in ((_average_each, each), (_average_batched, batch)):
        average(library, neighbours, poses, sizes, sampling, into)
    assert torch.equal(each, batch)
    assert (each.amax((1, 2, 3)) > 0).equal((neighbours >= 0).any(1))


def test_a_skeleton_is_drawn_with_sticks_of_one_width():
    pose = STANDING.clone()
    pose[15, 2] = 0
    sticks = skeleton_map(APART, pose[None], SIZES, SIZE, width=7)[0]
    assert sticks[4].sum() == 0
    head = sticks[0].nonzero()
    assert head[:, 1].unique().tolist() == list(range(57, 64))  # seven columns about x = 60
    assert (head[:, 0].min(), head[:, 0].max()) == (12, 48)  # the neck and the top, each with a round end
    merged = skeleton_map(PERSON, pose[None], SIZES, SIZE)[0]
    assert torch.equal(merged[2], sticks[2:4].amax(0))


def test_a_skeleton_has_its_width_on_the_canvas():
    small, large = (skeleton_map(PERSON, STANDING[None], SIZES, size)[0, 0] for size in (SIZE, (400, 240)))
    assert small[30].sum() == 7
    assert large[60].sum() in (7, 8)  # half a pixel off the middle
