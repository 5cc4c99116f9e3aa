import cv2
import numpy as np
import pytest
import small_networks
import torch

from partwise.errors import InputError
from partwise.labels import FACTS
from partwise.models.baselines.majority import MajorityClass
from partwise.nn.dense import AT_ONCE
from partwise.ops.resize import Letterbox
from partwise.predict.frames import FrameParser
from partwise.predict.smoothing import FlowSmoother


def texture(seed=0, size=(96, 128)):
    noise = np.random.default_rng(seed).random((*size, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    spread = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return (255 * spread).astype(np.uint8)


def test_the_past_follows_the_motion():
    """A moving edge stays sharp although past and present are mixed; mixing in place would smear it."""
    wide = texture(size=(96, 160))
    truth = torch.zeros(2, 96, 160)
    truth[0, :, :80], truth[1, :, 80:] = 1, 1
    smoother = FlowSmoother(0.8)
    for shift in range(0, 16, 4):
        frame = np.ascontiguousarray(wide[:, shift : shift + 128])
        target = truth[:, :, shift : shift + 128]
        smooth = smoother(frame, target)
    assert torch.allclose(smooth.sum(0), torch.ones(96, 128), atol=1e-4)
    assert (smooth - target).abs().mean() < 0.01
    assert (smooth.argmax(0) == target.argmax(0)).float().mean() > 0.99


def test_flicker_is_damped_and_a_new_scene_starts_anew():
    smoother, frame = FlowSmoother(0.8), texture()
    one, other = torch.zeros(2, 96, 128), torch.zeros(2, 96, 128)
    one[0], other[1] = 1, 1
    smoother(frame, one)
    assert (smoother(frame, other)[0, 10:-10, 10:-10] > 0.7).all()
    assert (smoother(texture(1), other)[1] > 0.5).float().mean() > 0.5  # the flow finds no way there and back


def test_the_weight_is_checked():
    with pytest.raises(InputError, match=r"testing\.smoothing"):
        FlowSmoother(1.0)


def test_a_parser_smooths_the_frames_of_a_video_in_order():
    torch.manual_seed(0)
    network = small_networks.build(small_networks.deeplab(image_size=(96, 128)))
    torch.nn.init.normal_(network.parsing.branches[0].weight)
    wide = texture(size=(96, 160))
    frames = [np.ascontiguousarray(wide[:, 4 * t : 4 * t + 100]) for t in range(AT_ONCE + 2)]
    parser = FrameParser(network, FACTS, (96, 128), torch.device("cpu"), smoothing=0.6)
    smoother, box = FlowSmoother(0.6), Letterbox.fit((96, 100), (96, 128))
    plain, changed = FrameParser(network, FACTS, (96, 128), torch.device("cpu")), 0
    for frame, parsing, single in zip(frames, parser.stream(frames), plain.stream(frames), strict=True):
        canvas = box.place(frame)
        with torch.inference_mode():
            probs = network.logits(canvas.permute(2, 0, 1)[None].float() / 255).softmax(1)[0]
            expected = box.restore(smoother(canvas.numpy(), probs)[None])[0].argmax(0)
        assert (parsing["parts"] == expected).float().mean() > 0.999
        changed += int((parsing["parts"] != single["parts"]).sum())
    assert changed > 0


def test_only_dense_parsers_of_images_can_be_smoothed():
    with pytest.raises(InputError, match="MajorityClass is no dense parser"):
        FrameParser(MajorityClass(0), FACTS, 64, torch.device("cpu"), smoothing=0.5)
