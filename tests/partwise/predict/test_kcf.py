import math

import cv2
import numpy as np
import pytest

from data_modules.synthetic.render.renderer import Renderer
from data_modules.synthetic.render.scene import draw_scene
from partwise.io.images import read_image
from partwise.predict.kcf import KCF, hog, track


def test_hog_is_felzenszwalbs_by_plain_loops():
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    x, rows, columns = image / 255, 5, 6
    beside = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    counts = np.zeros((rows + 2, columns + 2, 18))
    for i in range(20):
        for j in range(24):
            across, down = beside[i + 1, j + 2] - beside[i + 1, j], beside[i + 2, j + 1] - beside[i, j + 1]
            steps = list(zip(across, down, strict=True))
            dx, dy = max(steps, key=lambda s: s[0] ** 2 + s[1] ** 2)
            turn = round(math.atan2(dy, dx) * 9 / math.pi) % 18
            u, v = (i + 0.5) / 4 + 0.5, (j + 0.5) / 4 + 0.5
            for a in (math.floor(u), math.floor(u) + 1):
                for b in (math.floor(v), math.floor(v) + 1):
                    counts[a, b, turn] += math.hypot(dx, dy) * (1 - abs(u - a)) * (1 - abs(v - b))
    counts = counts[1:-1, 1:-1]
    plain = counts[..., :9] + counts[..., 9:]
    energy = np.pad((plain**2).sum(2), 1, mode="edge")
    expected = np.zeros((rows, columns, 31))
    for i in range(rows):
        for j in range(columns):
            for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
                norm = math.sqrt(energy[i + a : i + a + 2, j + b : j + b + 2].sum() + 1e-4)
                expected[i, j, :18] += np.minimum(counts[i, j] / norm, 0.2) / 2
                expected[i, j, 18:27] += np.minimum(plain[i, j] / norm, 0.2) / 2
                expected[i, j, 27 + 2 * a + b] = 0.2357 * np.minimum(counts[i, j] / norm, 0.2).sum()
    np.testing.assert_allclose(hog(image), expected, atol=1e-4)


def scene(boxes, size=(200, 260)):
    """A textured square on a textured ground; the square fills each box in turn."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 256, (20, 26, 3), dtype=np.uint8), size[::-1])
    target = cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (64, 64))
    for x1, y1, x2, y2 in boxes:
        frame, side = ground.copy(), (round(x2 - x1), round(y2 - y1))
        frame[round(y1) : round(y1) + side[1], round(x1) : round(x1) + side[0]] = cv2.resize(target, side)
        yield frame


def box_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_kcf_follows_a_target_that_moves():
    boxes = [(40 + 4 * t, 60 + 2 * t, 88 + 4 * t, 108 + 2 * t) for t in range(25)]
    found = list(track(scene(boxes), boxes[0]))
    assert min(box_iou(a, b) for a, b in zip(found, boxes, strict=True)) > 0.85


def test_kcf_follows_a_target_that_grows_only_with_scale_search():
    boxes = [(90 - t / 2, 70 - t / 2, 138 + t / 2, 118 + t / 2) for t in range(30)]
    fixed = list(track(scene(boxes), boxes[0]))
    searched = list(track(scene(boxes), boxes[0], (1 / 1.05, 1.0, 1.05)))
    assert box_iou(searched[-1], boxes[-1]) > 0.6
    assert box_iou(fixed[-1], boxes[-1]) < 0.45


def test_kcf_follows_a_rendered_person():
    renderer = Renderer(draw_scene(3, frames=12, severity=0.2))
    boxes = []
    for t in range(12):
        y, x = np.nonzero(renderer.frame(t).persons == 1)
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    found = list(track((renderer.image(t) for t in range(12)), boxes[0]))
    assert np.mean([box_iou(a, b) for a, b in zip(found, boxes, strict=True)]) > 0.6


def test_an_empty_box_is_refused():
    with pytest.raises(ValueError, match="empty"):
        KCF(np.zeros((40, 40, 3), np.uint8), (10, 10, 10, 20))


@pytest.mark.parametrize(("sequence", "least"), [("blackswan", 0.9), ("car-shadow", 0.75)])
def test_kcf_with_scale_search_on_real_sequences(sequence, least, real):
    root = real / "davis"
    masks = sorted((root / "Annotations/480p" / sequence).glob("*.png"))
    boxes = []
    for file in masks:
        y, x = np.nonzero(cv2.imread(str(file), 0))
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    files = sorted((root / "JPEGImages/480p" / sequence).glob("*.jpg"))
    found = list(track((read_image(file) for file in files), boxes[0], (1 / 1.05, 1.0, 1.05)))
    assert np.mean([box_iou(a, b) for a, b in zip(found, boxes, strict=True)]) > least
