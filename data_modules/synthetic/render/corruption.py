"""Corrupt frames as a camera does: dark, blurred, noisy, blocked. Each frame has its own draw; labels stay exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from partwise.arrays import Float32Array, UInt8Array


@dataclass(frozen=True)
class Corruption:
    """Corruption of one frame.

    Attributes:
        light: factor on the brightness.
        cast: factors on red, green and blue.
        shadow: x, y, width, height of a soft dark patch relative to the frame, and its darkness 0..1.
        shutter: share of the frame interval that the shutter is open; 0 freezes.
        defocus: standard deviation of the blur in frame heights.
        noise: standard deviation of the sensor noise, of 1.
        blocks: x, y, radius (of the frame height) and grey value of out-of-focus things before the lens.
        quality: of the JPEG, 1..100; 0 is none.
        seed: of the noise.
    """

    light: float
    cast: tuple[float, float, float]
    shadow: tuple[float, float, float, float, float]
    shutter: float
    defocus: float
    noise: float
    blocks: tuple[tuple[float, float, float, float], ...]
    quality: int
    seed: int


def draw_corruption(seed: int, frame: int, severity: float, steady_light: bool = False) -> Corruption | None:
    """Draw the corruption of a frame.

    Every frame gets a little of everything. With a chance that grows with severity, about one half by default, it
    is spoilt: two or three of the six kinds strike hard. Frames are spoilt independently of each other, so that
    neighbours see what this frame hides.

    Args:
        seed: of the clip.
        frame: number of the frame.
        severity: 0..1.
        steady_light: whether light, colour and shadow are those of the first frame.

    Returns:
        The corruption; None at severity 0.
    """
    if severity == 0:
        return None
    what = _draw(seed, frame, severity)
    if not steady_light:
        return what
    first = _draw(seed, 0, severity)
    return replace(what, light=first.light, cast=first.cast, shadow=first.shadow)


def _draw(seed: int, frame: int, severity: float) -> Corruption:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4, frame]))
    mild = rng.uniform(0, 0.35 * severity, 6)
    spoilt = rng.random() < 1.1 * severity
    struck = rng.permutation(6) < spoilt * rng.integers(2, 4)
    much = rng.uniform(0.6, 1.0, 6) * (0.7 + 0.3 * severity)
    dark, shade, motion, focus, grain, block = np.where(struck, much, mild).tolist()
    cast = np.exp(rng.normal(0, 0.04 + 0.2 * dark, 3))
    spots = rng.uniform([-0.1, -0.1, 0.1, 0.0], [1.1, 1.1, 0.24, 0.9], (4, 4))
    return Corruption(
        light=float(np.exp(-2.3 * dark)),
        cast=tuple((cast / cast.max()).tolist()),
        shadow=(*rng.uniform([0, 0, 0.25, 0.25], [1, 1, 0.8, 0.8]).tolist(), float(0.9 * shade)),
        shutter=float(5.0 * motion) if motion > 0.3 else 0.0,
        defocus=float(0.028 * focus),
        noise=float(0.01 + 0.14 * grain),
        blocks=tuple(tuple(spot) for spot in spots[: round(4 * block)].tolist()) if block > 0.3 else (),
        quality=int(95 - 65 * severity * rng.random()),
        seed=int(rng.integers(2**31)),
    )


def corrupt(image: Float32Array, what: Corruption) -> UInt8Array:
    """Apply a corruption to an image, except motion blur, which needs sub-frames.

    Args:
        image: (H, W, 3) RGB in 0..255.
        what: the corruption.

    Returns:
        The corrupted image (H, W, 3).
    """
    height, width = image.shape[:2]
    image = image * (what.light * np.array(what.cast, dtype=np.float32))
    x, y, wide, high, darkness = what.shadow
    image *= 1 - darkness * _patch(height, width, x * width, y * height, wide * width, high * height, 4)[..., None]
    for x, y, radius, grey in what.blocks:
        radius *= height
        cover = _patch(height, width, x * width, y * height, 1.5 * radius, radius, 6)[..., None]
        image += (255 * grey * what.light - image) * cover
    sigma = what.defocus * height
    if sigma > 0.3:
        cv2.GaussianBlur(image, (0, 0), sigma, dst=image)
    rng = np.random.default_rng(what.seed)
    image += 255 * what.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return _jpeg(np.clip(image, 0, 255).astype(np.uint8), what.quality)


def _patch(height: int, width: int, x: float, y: float, wide: float, high: float, edge: int) -> Float32Array:
    """A soft blob (H, W) in 0..1; a larger `edge` is sharper."""
    across = ((np.arange(width, dtype=np.float32) - np.float32(x)) / np.float32(wide)) ** 2
    down = ((np.arange(height, dtype=np.float32) - np.float32(y)) / np.float32(high)) ** 2
    return np.asarray(1 / (1 + (across + down[:, None]) ** edge), dtype=np.float32)


def _jpeg(image: UInt8Array, quality: int) -> UInt8Array:
    if not quality:
        return image
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)
