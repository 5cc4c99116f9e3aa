import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partwise.ops.resize import Letterbox

sides = st.integers(1, 400)


@given(sides, sides, st.sampled_from([16, 128, 512]))
@settings(max_examples=60, deadline=None)
def test_the_image_fits_centred_and_its_longer_side_fills_the_canvas(height, width, canvas):
    box = Letterbox.fit((height, width), canvas)
    assert max(box.height, box.width) == canvas
    assert 0 <= box.top <= canvas - box.height - box.top <= box.top + 1
    assert 0 <= box.left <= canvas - box.width - box.left <= box.left + 1
    assert box.place(np.ones((height, width), np.uint8)).shape == (canvas, canvas)


@given(sides, sides)
@settings(max_examples=30, deadline=None)
def test_boxes_return_to_the_image(height, width):
    box = Letterbox.fit((height, width), 256)
    whole = torch.tensor([[box.left, box.top, box.left + box.width, box.top + box.height]], dtype=torch.float32)
    assert torch.allclose(box.restore_boxes(whole), torch.tensor([[0.0, 0.0, width, height]]))
    outside = torch.tensor([[-50.0, -50.0, 900.0, 900.0]])
    assert torch.allclose(box.restore_boxes(outside), torch.tensor([[0.0, 0.0, width, height]]))


def test_labels_survive_enlarging_and_restoring():
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 20:40] = 7
    box = Letterbox.fit((40, 60), 240)
    placed = box.place(labels, labels=True, fill=255)
    assert set(placed.unique().tolist()) == {0, 7, 255}
    scores = torch.nn.functional.one_hot(box.crop(placed).long(), 8).permute(2, 0, 1)[None].float()
    canvas = torch.zeros(1, 8, 240, 240)
    canvas[..., box.top : box.top + box.height, box.left : box.left + box.width] = scores
    assert (box.restore(canvas).argmax(1)[0].numpy() == labels).all()


@pytest.mark.parametrize("fill", [0, 255])
def test_padding_has_the_fill_value(fill):
    placed = Letterbox.fit((10, 40), 80).place(np.full((10, 40, 3), 9, np.uint8), fill=fill)
    assert (placed[:30] == fill).all()
    assert (placed[30:50] == 9).all()
