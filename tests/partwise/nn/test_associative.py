"""Targets, losses and grouping against loops over persons, joints and pixels, and on planted maps."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from partwise.nn.associative import (
    COCO_ORDER,
    associative_losses,
    decode,
    find_candidates,
    group,
    join_flips,
    make_heatmaps,
    tag_losses,
)
from partwise.ops.flip import COCO_KEYPOINT_PAIRS, mirrored

K, SIZE = 17, (24, 32)  # joints; of the map, whose pixels are four of the input


def people(count, seed=0, missing=0.0, margin=8.0, outside=0.0):
    """(count, K, 3) joints in input pixels; some missing, some beyond the picture."""
    generator = torch.Generator().manual_seed(seed)
    span = torch.tensor([SIZE[1] * 4.0, SIZE[0] * 4.0])
    places = margin + torch.rand(count, K, 2, generator=generator) * (span - 2 * margin)
    seen = (torch.rand(count, K, 1, generator=generator) >= missing) * 2.0
    places = places + (torch.rand(count, K, 1, generator=generator) < outside) * span
    return torch.cat([places, seen], 2)


def cell(joint):
    """Row and column of the joint's pixel on the map, or None beyond it."""
    x, y = math.floor((joint[0] + 0.5) / 4), math.floor((joint[1] + 0.5) / 4)
    return (y, x) if 0 <= x < SIZE[1] and 0 <= y < SIZE[0] and joint[2] > 0 else None


def heatmaps_by_loops(persons, sigma):
    maps = torch.zeros(K, *SIZE)
    for pose in persons.tolist():
        for k, joint in enumerate(pose):
            if cell(joint) is None:
                continue
            cx, cy = (joint[0] + 0.5) / 4 - 0.5, (joint[1] + 0.5) / 4 - 0.5
            for y in range(SIZE[0]):
                for x in range(SIZE[1]):
                    value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                    maps[k, y, x] = max(maps[k, y, x].item(), value)
    return maps


def tag_losses_by_loops(tags, persons):
    """Push and pull of tags (K, h, w)."""
    means, pull = [], 0.0
    for pose in persons.tolist():
        own = [tags[k][cell(joint)].item() for k, joint in enumerate(pose) if cell(joint)]
        if own:
            means.append(sum(own) / len(own))
            pull += sum((tag - means[-1]) ** 2 for tag in own) / len(own)
    likeness = [math.exp(-((a - b) ** 2)) for a, b in combinations(means, 2)]
    return 0.5 * sum(likeness) / max(len(likeness), 1), pull / max(len(means), 1)


def planted(persons, tags, sigma=1.5):
    """Heatmaps (1, K, h, w) and tags (1, K, h, w, 2) of persons with one tag each, right around the joints."""
    heatmaps = make_heatmaps(persons[None], SIZE, sigma=sigma)
    distances = torch.stack([make_heatmaps(p[None, None], SIZE, sigma=sigma)[0] for p in persons])  # (N, K, h, w)
    values = torch.as_tensor(tags, dtype=torch.float32)[distances.argmax(0)]
    return heatmaps, torch.stack([values, values + 3.0], -1)[None]


def assert_same_people(found, expected, within):
    """Every pose has its match, joint by joint, `within` input pixels; missing joints are 0."""
    assert len(found) == len(expected)
    left = list(range(len(expected)))
    for pose in found:
        known = pose[:, 2] > 0
        same = [n for n in left if torch.equal(known, expected[n, :, 2] > 0)]
        fits = [n for n in same if ((pose - expected[n])[known, :2].abs() <= within).all()]
        assert len(fits) == 1
        left.remove(fits[0])
        assert not pose[~known].any()


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_heatmaps_are_those_of_loops(sigma):
    batch = torch.stack([people(3, 0, 0.3, outside=0.2), people(3, 1, 0.3, outside=0.2)])
    found = make_heatmaps(batch, SIZE, sigma=sigma)
    torch.testing.assert_close(found, torch.stack([heatmaps_by_loops(p, sigma) for p in batch]), atol=1e-6, rtol=1e-5)
    assert not make_heatmaps(batch[:, :0], SIZE).any()


def test_tag_losses_are_those_of_loops():
    torch.manual_seed(0)
    batch = torch.stack([people(4, 0, 0.4, outside=0.2), people(4, 1, 0.4), torch.zeros(4, K, 3), people(4, 2)])
    batch[3, 1:] = 0  # one person alone: nobody to push away
    batch[1, 2, :, 2] = 0
    tags = torch.randn(4, 2, K, *SIZE)
    push, pull = tag_losses(tags, batch)
    for b, s in np.ndindex(4, 2):
        expected = tag_losses_by_loops(tags[b, s], batch[b])
        assert (push[b, s].item(), pull[b, s].item()) == pytest.approx(expected, abs=1e-5)
    assert not push[2:].any()
    assert not pull[2].any()
    assert pull[3].all()


def test_push_and_pull_have_a_closed_form():
    """Two persons with two joints: means a and b, joints at a +- d."""
    a, b, d = 0.3, 1.1, 0.25
    joints = torch.zeros(1, 2, 2, 3)
    joints[0, :, :, :2] = torch.tensor([[[2.0, 2.0], [10.0, 2.0]], [[2.0, 10.0], [10.0, 10.0]]])
    joints[..., 2] = 2
    tags = torch.zeros(1, 1, 2, 3, 3)
    tags[0, 0, 0, 0, 0], tags[0, 0, 1, 0, 2], tags[0, 0, 0, 2, 0], tags[0, 0, 1, 2, 2] = a - d, a + d, b, b
    push, pull = tag_losses(tags, joints)
    assert push.item() == pytest.approx(0.5 * math.exp(-((a - b) ** 2)))
    assert pull.item() == pytest.approx(d**2 / 2)


def test_tag_losses_have_the_right_gradient():
    torch.manual_seed(0)
    joints = people(3, 3, 0.3)[None, :, :4].double()
    tags = torch.randn(1, 2, 4, *SIZE, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(4, *SIZE, dtype=torch.bool)
    for pose in joints[0].tolist():
        for k, joint in enumerate(pose):
            if cell(joint):
                own[k][cell(joint)] = True
    values = torch.randn(2, int(own.sum()), dtype=torch.float64, requires_grad=True)

    def losses(values):
        filled = torch.zeros(2, 4, *SIZE, dtype=torch.float64)
        filled[:, own] = values
        return tag_losses(filled[None], joints)

    assert torch.autograd.gradcheck(losses, values)
    push, pull = tag_losses(tags, joints)
    (push + pull).sum().backward()
    assert not tags.grad[0][:, ~own].any()
    assert tags.grad[0][:, own].all()


def test_losses_are_means_over_images_and_hourglasses():
    torch.manual_seed(0)
    persons = [people(2, 0, 0.2), people(4, 1, 0.2), torch.zeros(0, K, 3)]
    maps = torch.randn(3, 2, 2 * K, *SIZE)
    mask = torch.rand(3, 1, *SIZE) > 0.3
    losses = associative_losses(maps, persons, mask)
    heatmap, push, pull = [], [], []
    for b, s in np.ndindex(3, 2):
        heatmap.append(((maps[b, s, :K] - heatmaps_by_loops(persons[b], 2.0)).square() * mask[b]).mean())
        tags = tag_losses_by_loops(maps[b, s, K:], persons[b])
        push.append(tags[0] * 1e-3)
        pull.append(tags[1] * 1e-3)
    assert losses["heatmap"].item() == pytest.approx(torch.stack(heatmap).mean().item(), rel=1e-5)
    assert losses["push"].item() == pytest.approx(np.mean(push), rel=1e-4)
    assert losses["pull"].item() == pytest.approx(np.mean(pull), rel=1e-4)


def test_a_masked_joint_is_learnt_neither_as_there_nor_as_absent():
    persons, doubtful = people(2, 0), people(1, 1)[None]
    others = doubtful.clone()
    others[..., 2] = 0
    mask = make_heatmaps(doubtful, SIZE) < 0.01
    maps = torch.zeros(1, 1, 2 * K, *SIZE, requires_grad=True)
    losses = associative_losses(maps, torch.cat([persons[None], others], 1), mask)
    losses["heatmap"].backward()
    assert not maps.grad[0, 0, :K][~mask[0]].any()
    assert not maps.grad[0, 0, K:].any()
    assert maps.grad[0, 0, :K][mask[0]].any()
    assert mask.float().mean() > 0.5


def test_losses_are_single_precision_of_half_precision_maps():
    maps = torch.randn(1, 1, 2 * K, *SIZE).bfloat16()
    losses = associative_losses(maps, [people(2)])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    torch.testing.assert_close(losses, associative_losses(maps.float(), [people(2)]))


def test_decoding_is_the_inverse_of_the_targets():
    """To a quarter of a pixel of the map, which is one of the input."""
    for seed in range(10):
        persons = people(1, seed, 0.2)
        found = decode(*planted(persons, [1.0], 2.0))[0]
        assert_same_people(found.poses, persons, 1.0 + 1e-3)
        assert (found.poses[..., 2][persons[..., 2] > 0] > math.exp(-0.5 / 8) - 1e-3).all()
        assert found.scores.item() == pytest.approx(found.poses[0, :, 2].sum().item() / K)


def test_overlapping_people_are_told_apart_by_their_tags():
    """Every joint is four to six pixels of the map from its likes, and joints of others lie anywhere between."""
    first = people(1, 5, margin=24.0)[0]
    persons = torch.stack([first + torch.tensor([*by, 0.0]) for by in ((0.0, 0.0), (14.0, -8.0), (-10.0, 18.0))])
    persons[2, [2, 11]] = persons[1, [9, 0]] = 0
    found = decode(*planted(persons, [-1.5, 0.0, 1.5], 0.8))[0]
    assert_same_people(found.poses, persons, 1.5)
    assert found.poses[..., 2].gt(0).sum() == 3 * K - 4


def group_by_loops(scores, tags, threshold=0.1, tag_threshold=1.0):
    """The same by trying every assignment; a person is a dictionary from joints to candidates."""
    persons = []
    for joint in COCO_ORDER:
        found = [m for m in range(len(scores[joint])) if scores[joint, m] > threshold]
        means = [sum(tags[k, m] for k, m in person.items()) / len(person) for person in persons]
        distances = [[math.sqrt(((tags[joint, m] - mean) ** 2).mean()) for mean in means] for m in found]
        cost = [
            [round(d) * 100 - scores[joint, m] + 1e-6 * d for d in row] for m, row in zip(found, distances, strict=True)
        ]
        places = [*range(len(persons)), *[None] * max(len(found) - len(persons), 0)]
        best = min(
            permutations(places, len(found)),
            key=lambda taken: sum(1e6 if n is None else cost[m][n] for m, n in enumerate(taken)),
        )
        for m, n in enumerate(best):
            if n is not None and distances[m][n] < tag_threshold:
                persons[n][joint] = found[m]
            else:
                persons.append({joint: found[m]})
    return [[person.get(joint, -1) for joint in range(K)] for person in persons]


@pytest.mark.parametrize("seed", range(8))
def test_groups_are_those_of_trying_every_assignment(seed):
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((K, 3)) < 0.6, rng.random((K, 3)), 0)
    tags = rng.choice([0.0, 1.2, 2.5], (K, 3, 1)) + rng.normal(0, 0.3, (K, 3, 2))
    persons = group(scores, tags)
    assert len(persons) < 12
    assert persons.tolist() == group_by_loops(scores, tags)


def test_a_joint_with_a_tag_of_nobody_is_a_person_of_its_own():
    scores = np.zeros((K, 2))
    tags = np.zeros((K, 2, 2))
    scores[0, 0] = scores[5, 0] = scores[6, 0] = 0.9
    tags[6] = 1.01  # just beyond the threshold
    assert [sorted(np.flatnonzero(row >= 0)) for row in group(scores, tags)] == [[0, 5], [6]]
    tags[6] = 0.99
    assert len(group(scores, tags)) == 1
    tags[6, 0] = 1.2, 0.6  # root mean square .95, although the first alone is too far
    assert len(group(scores, tags)) == 1


def test_of_equally_near_tags_the_higher_score_is_taken():
    """Distances are rounded: .1 and .4 count the same."""
    scores, tags = np.zeros((K, 2)), np.zeros((K, 2, 2))
    scores[0, 0], scores[1] = 0.9, (0.8, 0.5)
    tags[1, 0], tags[1, 1] = 0.4, 0.1
    persons = group(scores, tags)
    assert persons[0, 1] == 0
    assert persons.shape == (2, K)
    assert persons[1, 1] == 1


def test_assignment_is_best_for_all_persons_together():
    """One by one, the first candidate would take the person that is nearest to it, and the only one for the second."""
    scores, tags = np.zeros((K, 2)), np.zeros((K, 2, 1))
    scores[:2], tags[0, :, 0], tags[1, :, 0] = (0.9, 0.8), (0.0, 1.4), (0.6, 0.2)
    assert group(scores, tags)[:, 1].tolist() == [1, 0]


def test_of_persons_that_rounding_makes_equally_far_the_nearer_is_taken():
    scores, tags = np.zeros((K, 2)), np.zeros((K, 2, 1))
    scores[0], scores[1, 0] = 0.9, 0.9
    for far, near in ((0.0, 2.0), (2.0, 0.0)):
        tags[0, :, 0], tags[1, 0] = (far, near), abs(near - 0.6)  # 0.6 and 1.4 away
        assert group(scores, tags)[:, 1].tolist() == [-1, 0]


def test_a_person_is_the_mean_of_its_tags():
    scores, tags = np.zeros((K, 1)), np.zeros((K, 1, 1))
    for joint, tag in zip(COCO_ORDER[:3], (0.0, 0.9, 1.3), strict=True):  # 1.3 is .85 from the mean, not from the first
        scores[joint], tags[joint] = 0.9, tag
    assert len(group(scores, tags)) == 1


def test_there_are_at_most_thirty_persons():
    scores = np.full((K, 40), 0.5)
    scores[:, ::2] = 0.6
    tags = np.broadcast_to(10.0 * np.arange(40)[:, None], (K, 40, 1))
    persons = group(scores, tags)
    assert persons.shape == (30, K)
    assert (persons == persons[:, :1]).all()


def test_nobody_is_found_where_nothing_is():
    found = decode(torch.zeros(2, K, *SIZE), torch.zeros(2, K, *SIZE, 2))
    assert [(p.poses.shape, p.scores.shape) for p in found] == [((0, K, 3), (0,))] * 2
    assert group(np.full((K, 3), 0.1), np.zeros((K, 3, 1))).shape == (0, K)


def test_candidates_are_the_highest_local_maxima():
    torch.manual_seed(0)
    heatmaps, tags = torch.rand(2, 3, 9, 11), torch.randn(2, 3, 9, 11, 2)
    found = find_candidates(heatmaps, tags, 5)
    for b, k in np.ndindex(2, 3):
        grid = heatmaps[b, k]
        peaks = []
        for y, x in np.ndindex(9, 11):
            around = grid[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if grid[y, x] == around.max():
                dx = grid[y, min(x + 1, 10)] - grid[y, max(x - 1, 0)]
                dy = grid[min(y + 1, 8), x] - grid[max(y - 1, 0), x]
                place = (x + 0.25 * dx.sign().item(), y + 0.25 * dy.sign().item())
                peaks.append((grid[y, x].item(), place, tags[b, k, y, x]))
        peaks.sort(key=lambda peak: -peak[0])
        for m, (score, place, tag) in enumerate(peaks[:5]):
            assert found.scores[b, k, m] == score
            assert found.places[b, k, m].tolist() == list(place)
            assert torch.equal(found.tags[b, k, m], tag)


def test_flipped_maps_give_flipped_persons():
    persons = people(2, 0, 0.2)
    persons[1, :, 1] = (persons[0, :, 1] + 40) % 80 + 8
    heatmaps, tags = planted(persons, [0.0, 2.0])
    torch.manual_seed(0)
    maps = torch.cat([heatmaps, tags[..., 0]], 1) + 0.01 * torch.rand(1, 2 * K, *SIZE)
    order = mirrored(K, COCO_KEYPOINT_PAIRS)
    of_flipped = torch.cat([heatmaps[:, order], tags[:, order][..., 1]], 1).flip(-1)
    plain = decode(*join_flips(maps, of_flipped))[0].poses
    back = decode(*join_flips(of_flipped, maps))[0].poses[:, order]
    back[..., 0] = torch.where(back[..., 2] > 0, SIZE[1] * 4 - 1 - back[..., 0], 0)
    assert_same_people(plain, persons, 2.1)
    assert_same_people(back, plain, 1e-3)
    means, both = join_flips(maps, of_flipped)
    torch.testing.assert_close(means, ((maps[:, :K] + heatmaps) / 2).clamp(max=1))
    torch.testing.assert_close(both[..., 1], tags[..., 1])
