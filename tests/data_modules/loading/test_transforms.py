import albumentations as A
import numpy as np
import pytest
import torch

from data_modules.loading.transforms import ClipTransform
from partwise.errors import InputError
from partwise.labels import VIP


@pytest.fixture
def clip():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(3)]
    parts = rng.integers(0, 20, (60, 80), dtype=np.uint8)
    return frames, {"parts": parts, "persons": rng.integers(0, 4, (60, 80), dtype=np.int32)}


def test_evaluation_only_letterboxes(clip):
    out = ClipTransform(80, VIP, flip=1.0)(*clip)
    assert out["frames"].shape == (3, 3, 80, 80)
    assert out["frames"].dtype == torch.uint8
    assert (out["parts"][10:70].numpy() == clip[1]["parts"]).all()
    assert (out["parts"][:10] == 255).all()
    assert (out["instances"][:10] == 0).all()
    assert (out["frames"][1, :, 10:70].permute(1, 2, 0).numpy() == clip[0][1]).all()


def test_a_flip_takes_frames_parts_and_persons_along(clip):
    plain = ClipTransform(80, VIP)(*clip)
    flipped = ClipTransform(80, VIP, flip=1.0)(*clip, seed=(0, 0, 0))
    assert torch.equal(flipped["frames"], plain["frames"].flip(-1))
    assert torch.equal(flipped["instances"], plain["instances"].flip(-1))
    left, right = VIP.id_of("left-arm"), VIP.id_of("right-arm")
    assert torch.equal(flipped["parts"] == right, (plain["parts"] == left).flip(-1))


def test_equal_seeds_give_equal_samples_and_others_differ(clip):
    augment = [A.RandomBrightnessContrast(p=1.0), A.Affine(scale=(0.5, 2.0), p=1.0)]
    transform = ClipTransform(64, VIP, augment=augment)
    a, b, c = (transform(*clip, seed=seed) for seed in ((1, 2, 3), (1, 2, 3), (1, 3, 3)))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["frames"], c["frames"])


def test_frames_of_a_clip_are_augmented_alike():
    frame = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    parts = np.zeros((40, 40), np.uint8)
    augment = [A.ColorJitter(p=1.0), A.Affine(translate_percent=(0.1, 0.3), p=1.0)]
    out = ClipTransform(40, VIP, augment=augment)([frame, frame.copy(), frame.copy()], {"parts": parts}, seed=(0, 0, 5))
    assert torch.equal(out["frames"][0], out["frames"][1])
    assert torch.equal(out["frames"][0], out["frames"][2])


def test_labels_move_with_their_pixels():
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[20:44, 10:30] = 255
    parts = np.where(frame[..., 0] > 0, 5, 0).astype(np.uint8)
    augment = [A.Affine(translate_percent=(0.2, 0.25), scale=(0.8, 1.2), p=1.0)]
    labels = {"parts": parts, "persons": parts.astype(np.int32)}
    out = ClipTransform(64, VIP, flip=0.5, augment=augment)([frame], labels, seed=(0, 1, 2))
    bright = out["frames"][0, 0] > 127
    assert (bright == (out["parts"] == 5)).float().mean() > 0.99
    assert (bright == (out["instances"] == 5)).float().mean() > 0.99


def test_an_albumentations_flip_is_refused():
    with pytest.raises(InputError, match="left and right"):
        ClipTransform(64, VIP, augment=[A.HorizontalFlip()])


@pytest.mark.parametrize("seed", range(6))
def test_keypoints_stay_on_their_pixels(seed):
    """A bright spot a keypoint; after turning, scaling and flipping the keypoint is where the spot is."""
    frame = np.zeros((90, 60, 3), np.uint8)
    places = [(20, 30), (40, 30), (30, 60)]
    for channel, (x, y) in enumerate(places):
        frame[y - 1 : y + 2, x - 1 : x + 2, channel] = 255
    keypoints = np.array([[(x, y, 2) for x, y in places] + [(0, 0, 0)]], np.float32)
    augment = [A.Affine(scale=(0.7, 1.1), rotate=(-30, 30), translate_percent=(-0.1, 0.1), p=1.0)]
    transform = ClipTransform((180, 160), VIP, flip=0.5, augment=augment, keypoint_pairs=[(0, 1)])
    out = transform([frame], {"keypoints": keypoints}, seed=(seed, 0, 0))
    flipped = transform.__class__((180, 160), VIP, 0.0, augment)([frame], {"keypoints": keypoints}, seed=(seed, 0, 0))
    order = [0, 1, 2] if torch.equal(out["frames"], flipped["frames"]) else [1, 0, 2]
    for row, channel in enumerate(order):
        weight = out["frames"][0, channel].double()
        if weight.sum() < 9 * 255 * 2:  # the spot has left the picture
            continue
        spot_y = float((weight.sum(1) * torch.arange(180)).sum() / weight.sum())
        spot_x = float((weight.sum(0) * torch.arange(160)).sum() / weight.sum())
        assert out["keypoints"][0, row].tolist() == pytest.approx([spot_x, spot_y, 2], abs=0.6)
    assert out["keypoints"][0, 3].tolist() == [0, 0, 0]


def test_keypoints_off_the_canvas_do_not_count():
    keypoints = np.array([[[5, 5, 2], [500, 5, 2], [5, -9, 1]]], np.float32)
    out = ClipTransform(40, VIP)([np.zeros((40, 40, 3), np.uint8)], {"keypoints": keypoints})
    assert out["keypoints"][0].tolist() == [[5, 5, 2], [0, 0, 0], [0, 0, 0]]


def test_nobody_is_beyond_the_picture():
    shrink = A.Affine(scale=(0.4, 0.5), keep_ratio=True, fill_mask=255, p=1.0)
    persons = np.zeros((40, 60), np.int32)
    persons[5:30, 10:40] = 2
    given = {"parts": (persons > 0).astype(np.uint8), "persons": persons}
    transform = ClipTransform((40, 60), VIP, flip=0.0, augment=[shrink])
    out = transform([np.zeros((40, 60, 3), np.uint8)], given, seed=[0])
    assert out["instances"].unique().tolist() == [0, 2]
    assert (out["parts"] == 255).any()
