import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partwise.labels import FACTS, VIP
from partwise.ops.flip import COCO_KEYPOINT_PAIRS, flip_labels, flip_scores, hflip, mirrored


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=20, deadline=None)
def test_flipping_twice_is_the_identity(seed):
    torch.manual_seed(seed)
    keypoints = torch.cat([torch.randint(0, 30, (2, 17, 2)).float(), torch.ones(2, 17, 1)], -1)
    sample = {
        "image": torch.rand(3, 20, 30),
        "frames": torch.rand(4, 3, 20, 30),
        "parts": torch.randint(0, 20, (20, 30)),
        "instances": torch.randint(0, 4, (20, 30)),
        "flow": torch.randn(1, 2, 20, 30),
        "keypoints": keypoints,
        "boxes": torch.tensor([[1.0, 2.0, 10.0, 12.0]]),
    }
    twice = hflip(hflip(sample, VIP), VIP)
    assert all(torch.equal(twice[name], sample[name]) for name in sample)


def test_one_flip_swaps_left_and_right_and_keeps_ignore():
    parts = torch.tensor([[VIP.id_of("left-arm"), 255, VIP.id_of("face"), VIP.id_of("right-shoe")]])
    expected = torch.tensor([[VIP.id_of("left-shoe"), VIP.id_of("face"), 255, VIP.id_of("right-arm")]])
    assert torch.equal(flip_labels(parts, VIP), expected)


def test_scores_flip_as_their_labels_do():
    torch.manual_seed(0)
    scores = torch.rand(2, FACTS.num_classes, 6, 8)
    assert torch.equal(flip_scores(scores, FACTS).argmax(1), flip_labels(scores.argmax(1), FACTS))


def test_keypoints_follow_their_pixels_and_change_sides():
    image = torch.zeros(3, 4, 10)
    image[:, 1, 2] = 1
    keypoints = torch.zeros(1, 17, 3)
    keypoints[0, 5] = torch.tensor([2.0, 1.0, 2.0])  # left shoulder on the bright pixel
    flipped = hflip({"image": image, "keypoints": keypoints}, VIP)
    x, y, seen = flipped["keypoints"][0, 6].tolist()  # now the right shoulder
    assert seen == 2
    assert flipped["image"][0, int(y), int(x)] == 1
    assert flipped["keypoints"][0, 5].tolist() == [0, 0, 0]  # absent points keep their zeros


def test_unknown_fields_are_refused():
    with pytest.raises(KeyError, match="depth"):
        hflip({"image": torch.rand(3, 2, 2), "depth": torch.rand(2, 2)}, VIP)


def test_mirrored_rows_are_back_in_order_after_two_flips():
    order = mirrored(17, COCO_KEYPOINT_PAIRS)
    assert order[:5] == [0, 2, 1, 4, 3]
    assert [order[row] for row in order] == list(range(17))
    assert mirrored(3, ()) == [0, 1, 2]
