"""Distances of poses against a plain loop, and limbs' similarities against what they must do."""

import math

import pytest
import torch
from pycocotools.cocoeval import COCOeval

from partwise.ops import pose as ops
from partwise.ops.pose import LEAST, keypoint_similarity, limb_similarity, nearest_poses, normalise

USED = [j for j in range(16) if j != 7]


def some_poses(count, seed, missing=0.2):
    generator = torch.Generator().manual_seed(seed)
    poses = torch.rand(count, 16, 3, generator=generator) * 200
    poses[..., 2] = (torch.rand(count, 16, generator=generator) > missing).float() * 2
    return poses


def plain_distance(a, b):
    """By the definition, joint by joint."""
    if any(pose[joint][2] <= 0 for pose in (a, b) for joint in (2, 3, 8)):
        return math.inf
    shapes = []
    for pose in (a, b):
        pelvis = [(pose[2][i] + pose[3][i]) / 2 for i in (0, 1)]
        torso = math.hypot(pose[8][0] - pelvis[0], pose[8][1] - pelvis[1])
        joints = {6: (0.0, 0.0)}
        for joint in USED:
            if pose[joint][2] > 0 and joint != 6:
                joints[joint] = tuple(50 * (pose[joint][i] - pelvis[i]) / torso for i in (0, 1))
        shapes.append(joints)
    common = shapes[0].keys() & shapes[1].keys()
    if len(common) < 8:
        return math.inf
    return sum(math.dist(shapes[0][joint], shapes[1][joint]) ** 2 for joint in common) / len(common)


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.5])
def test_neighbours_are_those_of_a_plain_loop(missing):
    poses, library = some_poses(12, 0, missing), some_poses(40, 1, missing)
    plain = torch.tensor([[plain_distance(a, b) for b in library.tolist()] for a in poses.tolist()])
    indices, distances = nearest_poses(poses, library, k=5)
    want = plain.sort(dim=1)
    torch.testing.assert_close(distances, want.values[:, :5].double(), rtol=1e-6, atol=1e-6)
    finite = distances.isfinite()
    assert torch.equal(indices[finite], want.indices[:, :5][finite])


def all_distances(poses, library):
    """Of all to all, in float64 from the differences."""
    (a, v), (b, w) = normalise(poses), normalise(library)
    both = v[:, None] & w
    squared = ((a[:, None] - b).square().sum(-1) * both).sum(-1)
    return (squared / both.sum(-1)).masked_fill(both.sum(-1) < LEAST, math.inf)


def crowded(count, seed):
    """Poses that are hardly apart, some of them equal: float32 cannot rank them."""
    poses = some_poses(6, seed, missing=0.1).repeat(count // 6, 1, 1)
    shaken = poses[..., :2] * (1 + 1e-6 * torch.randn(len(poses), 16, 1, generator=torch.Generator().manual_seed(seed)))
    poses[: count // 2, :, :2] = shaken[: count // 2]
    return poses


def far_out(count, seed):
    """Poses with one joint far away, whose squares swallow the others in float32."""
    poses = some_poses(count, seed, missing=0.1)
    poses[:, 15, :2] = 1e5 + poses[:, 15, :2]
    return poses


KINDS = {"apart": some_poses, "crowded": crowded, "far out": far_out}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_neighbours_are_exactly_those_of_float64(kind, precision, monkeypatch):
    monkeypatch.setattr(ops, "_CHUNK", 1000)  # several rows at a time, the last fewer
    poses, library = some_poses(40, 7, missing=0.1), KINDS[kind](300, 8)
    if kind != "apart":
        poses = torch.cat([poses, library[:20]])
    own = torch.full((len(poses),), -1)
    own[-10:] = torch.arange(10)
    plain = all_distances(poses, library)
    plain[torch.arange(len(poses))[-10:], own[-10:]] = math.inf
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            indices, distances = nearest_poses(poses, library, 5, own)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(distances, plain.sort(1).values[:, :5])
    finite = distances.isfinite()
    assert torch.equal(plain.gather(1, indices)[finite], distances[finite])
    assert all(len(set(row[seen].tolist())) == seen.sum() for row, seen in zip(indices, finite, strict=True))


@pytest.mark.parametrize(("kind", "doubts"), [("apart", False), ("crowded", True), ("far out", True)])
def test_float32_says_where_it_does_not_suffice(kind, doubts):
    poses = KINDS[kind](300, 8)
    ours, theirs = (ops._shapes(p, ops.MPII) for p in (poses[:40], poses))
    found = ops._search_in(torch.float32, ours, theirs, 5)
    assert bool((~found.sure).any()) == doubts
    want = all_distances(poses[:40], poses)[ours.rows].sort(1).values[:, :5]
    assert torch.equal(found.distances[found.sure], want[found.sure])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_factors_are_lower_bounds(kind, dtype):
    library = KINDS[kind](300, 9)
    ours, theirs = (ops._shapes(p, ops.MPII) for p in (library[:100], library))
    products = ops._factors(ours, dtype, of_library=False) @ ops._factors(theirs, dtype, of_library=True).T
    both = ours.known[:, None] & theirs.known
    squared = ((ours.joints[:, None] - theirs.joints).square().sum(-1) * both).sum(-1)
    sizes = (ours.known.double() * ours.joints.square().sum(-1)) @ theirs.known.double().T
    sizes = sizes + ours.known.double() @ (theirs.known * theirs.joints.square().sum(-1)).T
    assert (products.double() <= squared).all()
    assert (squared - products.double() <= 300 * torch.finfo(dtype).eps * sizes).all()


def test_fewer_comparable_poses_than_are_asked_for_leave_the_rest_infinitely_far():
    library = some_poses(6, 10, missing=0)
    library[2:, 8, 2] = 0  # without a neck
    indices, distances = nearest_poses(library[:1], library, k=5)
    assert indices[0, :2].tolist() == [0, 1]
    assert distances[0].isfinite().tolist() == [True, True, False, False, False]
    assert not nearest_poses(library[:1], library[2:], k=3)[1].isfinite().any()


def test_a_pose_is_nearest_to_itself_wherever_and_however_large_it_is():
    library = some_poses(30, 2, missing=0)
    moved = library.clone()
    moved[..., :2] = 3 * library[..., :2] + torch.tensor([1000.0, -70.0])
    indices, distances = nearest_poses(moved, library, k=1)
    assert torch.equal(indices[:, 0], torch.arange(30))
    assert distances.max() < 1e-6


def test_a_pose_can_be_left_out_of_its_own_neighbours():
    library = some_poses(20, 3, missing=0)
    own = torch.arange(20)
    indices, distances = nearest_poses(library, library, k=3, own=own)
    assert (indices != own[:, None]).all()
    without, _ = nearest_poses(library, library, k=4)
    assert torch.equal(indices, without[:, 1:])
    assert distances.min() > 0


def test_the_thorax_and_the_pelvis_given_do_not_count():
    a, b = some_poses(1, 4, missing=0), some_poses(1, 5, missing=0)
    _, before = nearest_poses(a, b, k=1)
    a[:, [6, 7]] = torch.tensor([1e4, -1e4, 0])
    torch.testing.assert_close(nearest_poses(a, b, k=1)[1], before)


@pytest.mark.parametrize("joint", [2, 3, 8])
def test_without_neck_or_a_hip_nothing_is_near(joint):
    poses = some_poses(1, 6, missing=0)
    whole = poses.clone()
    poses[0, joint, 2] = 0
    assert nearest_poses(poses, whole, k=1)[1].isinf().all()
    assert nearest_poses(whole, poses, k=1)[1].isinf().all()


def test_seven_common_joints_are_too_few():
    whole = some_poses(1, 7, missing=0)
    few = whole.clone()
    few[0, :, 2] = 0
    few[0, [2, 3, 8, 9, 0, 1], 2] = 2  # and the pelvis makes seven
    assert nearest_poses(few, whole, k=1)[1].isinf().all()
    few[0, 4, 2] = 2
    assert nearest_poses(few, whole, k=1)[1].max() < 1e-6


def test_a_torso_without_length_is_near_to_nothing():
    poses = some_poses(1, 8, missing=0)
    poses[0, 8, :2] = poses[0, [2, 3], :2].mean(0)
    assert nearest_poses(poses, some_poses(3, 9, missing=0), k=3)[1].isinf().all()


def test_no_poses_have_no_neighbours():
    indices, distances = nearest_poses(torch.zeros(0, 16, 3), some_poses(3, 0), k=2)
    assert indices.shape == distances.shape == (0, 2)


def carried(matrices, points):
    return (matrices[:, :, :2] @ points[..., None])[..., 0] + matrices[:, :, 2]


def test_a_limbs_ends_are_carried_onto_the_targets():
    generator = torch.Generator().manual_seed(0)
    source_a, source_b, target_a, target_b = (
        torch.rand(50, 2, generator=generator, dtype=torch.float64) * 100 for _ in range(4)
    )
    matrices = limb_similarity(source_a, source_b, target_a, target_b)
    torch.testing.assert_close(carried(matrices, source_a), target_a)
    torch.testing.assert_close(carried(matrices, source_b), target_b)
    scale = (target_b - target_a).norm(dim=1) / (source_b - source_a).norm(dim=1)
    turn = matrices[:, :, :2] / scale[:, None, None]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2).double().expand(50, 2, 2))
    assert (turn.det() > 0).all()  # no reflection


def test_a_pose_onto_itself_is_the_identity():
    a, b = torch.rand(5, 2), torch.rand(5, 2) + 2
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(5, 2, 3)
    torch.testing.assert_close(limb_similarity(a, b, a, b), identity, atol=1e-5, rtol=0)


def test_limbs_without_length_give_zeros_and_gradients():
    a = torch.zeros(1, 2, requires_grad=True)
    to_a, to_b = torch.rand(1, 2), torch.rand(1, 2)
    empty = limb_similarity(a, torch.zeros(1, 2), to_a, to_b)
    assert (empty == 0).all()
    empty.sum().backward()
    assert a.grad.isfinite().all()


def test_gradients_of_the_similarity():
    points = [torch.rand(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    assert torch.autograd.gradcheck(limb_similarity, points)


def test_keypoint_similarity_is_cocos():
    generator = torch.Generator().manual_seed(5)
    poses = torch.rand(4, 17, 3, generator=generator).double() * torch.tensor([80.0, 150.0, 1.0])
    truth = poses[:3] + 4 * torch.randn(3, 17, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.0])
    truth[..., 2] = (torch.rand(3, 17, generator=generator) > 0.3) * 2
    rows = [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": p.flatten().tolist(), "score": 1} for p in poses]
    objects = []
    for pose in truth:
        places = pose[pose[:, 2] > 0, :2]
        area = float((places.amax(0) - places.amin(0)).prod())
        objects.append({"keypoints": pose.flatten().tolist(), "area": area, "bbox": [0, 0, 80, 150]})
    evaluator = COCOeval(iouType="keypoints")
    evaluator._dts[1, 1], evaluator._gts[1, 1] = rows, objects
    want = torch.from_numpy(evaluator.computeOks(1, 1))
    torch.testing.assert_close(keypoint_similarity(poses, truth), want)


def test_keypoint_similarity_without_common_joints_is_zero():
    poses = torch.rand(2, 17, 3) * 50
    poses[0, :8, 2], poses[1, 8:, 2] = 0, 0
    assert keypoint_similarity(poses[:1], poses[1:]).item() == 0
    assert keypoint_similarity(poses, 0 * poses).max() == 0
    assert keypoint_similarity(poses[:0], poses).shape == (0, 2)
    assert keypoint_similarity(poses, poses, least=60).max() == 0
    torch.testing.assert_close(keypoint_similarity(poses, poses).diagonal(), torch.ones(2).double())
