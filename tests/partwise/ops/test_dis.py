import cv2
import numpy as np
import pytest
import torch

from partwise.ops.dis import dense_inverse_search
from partwise.ops.flow import warp


@pytest.mark.parametrize("preset", ["fast", "medium"])
def test_a_shifted_picture_is_found_and_warped_back(preset):
    noise = np.random.default_rng(0).integers(0, 256, (96, 140), dtype=np.uint8)
    wide = cv2.equalizeHist(cv2.GaussianBlur(noise, (0, 0), 3))
    target, source = np.ascontiguousarray(wide[:, 10:110]), np.ascontiguousarray(wide[:, 6:106])  # 4 to the right
    flow = dense_inverse_search(target, source, preset)
    assert flow.shape == (2, 96, 100)
    assert flow.dtype == torch.float32
    inner = flow[:, 16:-16, 16:-16]
    torch.testing.assert_close(inner.flatten(1).median(1).values, torch.tensor([4.0, 0.0]), atol=0.1, rtol=0)
    back = warp(torch.from_numpy(source)[None, None].float(), flow[None])[0, 0]
    assert (back - torch.from_numpy(target).float())[16:-16, 16:-16].abs().mean() < 3
