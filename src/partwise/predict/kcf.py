"""Tracking of a box: KCF (Henriques et al., PAMI 2015) on HOG features (Felzenszwalb et al., PAMI 2010)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from partwise.arrays import AnyArray, ComplexArray, Float32Array, Float64Array, Int64Array, Picture

CELL = 4  # side of a HOG cell in pixels

_BINS = 9  # unsigned orientations


def hog(image: AnyArray) -> Float32Array:
    """Compute Felzenszwalb's histograms of oriented gradients (PAMI 2010) in cells of 4 pixels.

    Args:
        image: (H, W, 3) in 0..255, sides of at least 8 pixels.

    Returns:
        (H // 4, W // 4, 31) float32: 18 signed orientations, 9 unsigned ones, 4 texture energies.
    """
    rows, columns = image.shape[0] // CELL, image.shape[1] // CELL
    x = image[: rows * CELL, : columns * CELL].astype(np.float32) / 255
    wide = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    dx, dy = wide[1:-1, 2:] - wide[1:-1, :-2], wide[2:, 1:-1] - wide[:-2, 1:-1]
    strongest = (dx**2 + dy**2).argmax(2)[..., None]
    dx, dy = np.take_along_axis(dx, strongest, 2)[..., 0], np.take_along_axis(dy, strongest, 2)[..., 0]
    turn = np.arctan2(dy, dx) * (_BINS / np.pi)  # -9..9
    signed = np.rint(turn).astype(np.int64) % (2 * _BINS)
    counts = _cell_histogram(signed, np.hypot(dx, dy), rows, columns)
    plain = counts[..., :_BINS] + counts[..., _BINS:]
    energy = np.pad((plain**2).sum(2), 1, mode="edge")
    blocks = energy[:-1, :-1] + energy[1:, :-1] + energy[:-1, 1:] + energy[1:, 1:]  # of 2x2 cells
    norms = 1 / np.sqrt(np.stack([blocks[i : i + rows, j : j + columns] for i in (0, 1) for j in (0, 1)]) + 1e-4)
    clipped = np.minimum(counts[None] * norms[..., None], 0.2)
    clipped_plain = np.minimum(plain[None] * norms[..., None], 0.2)
    texture = 0.2357 * clipped.sum(3).transpose(1, 2, 0)  # 1 / sqrt(18)
    return np.concatenate([clipped.sum(0) / 2, clipped_plain.sum(0) / 2, texture], 2).astype(np.float32)


def _cell_histogram(bins: Int64Array, weight: Float32Array, rows: int, columns: int) -> Float32Array:
    """Sum gradients per cell and orientation, (rows, columns, 18); the four nearest cells share a pixel bilinearly."""
    total = np.zeros((rows + 2) * (columns + 2) * 2 * _BINS)
    y, x = ((np.arange(n * CELL) + 0.5) / CELL + 0.5 for n in (rows, columns))  # in cells, with a margin of one
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    for i, y_share in ((0, 1 - (y - top)), (1, y - top)):
        for j, x_share in ((0, 1 - (x - left)), (1, x - left)):
            cell = (top[:, None] + i) * (columns + 2) + left + j
            share = weight * (y_share[:, None] * x_share)
            total += np.bincount((cell * 2 * _BINS + bins).ravel(), share.ravel(), total.size)
    return total.reshape(rows + 2, columns + 2, 2 * _BINS)[1:-1, 1:-1].astype(np.float32)


class KCF:
    """Kernelized correlation filter (Henriques et al., PAMI 2015) with its published parameters for HOG.

    Gaussian kernel of width 0.5, regularisation 1e-4, target width 0.1, window 2.5 times the target, learning rate
    0.02.

    Args:
        image: (H, W, 3) uint8 RGB, the first frame.
        box: x1, y1, x2, y2 of the target in pixels.
        scales: factors on the box's size that are tried in each frame; the paper tries 1 alone.
        scale_weight: factor on the response at a changed size.

    Raises:
        ValueError: the box is empty.
    """

    kernel_width, regularisation, target_width, window, rate = 0.5, 1e-4, 0.1, 2.5, 0.02
    longest = 160  # pixels of the resized window's longer side, which makes cost independent of the target's size

    def __init__(
        self, image: Picture, box: Sequence[float], scales: Sequence[float] = (1.0,), scale_weight: float = 0.95
    ) -> None:
        x1, y1, x2, y2 = (float(v) for v in box)
        if not (x2 > x1 and y2 > y1):
            raise ValueError(f"box {box} is empty; want x1, y1, x2, y2 with x1 < x2 and y1 < y2")
        self.center, self.size = np.array([x1 + x2, y1 + y2]) / 2, np.array([x2 - x1, y2 - y1])
        self.scales, self.scale_weight = tuple(scales), scale_weight
        window = self.size * self.window
        cells = np.maximum(np.rint(window * self.longest / window.max() / CELL), 4).astype(int)  # columns, rows
        self.columns, self.rows = int(cells[0]), int(cells[1])
        self._hann = np.outer(np.hanning(self.rows), np.hanning(self.columns))[..., None].astype(np.float32)
        spread = np.sqrt(self.rows * self.columns) / self.window * self.target_width
        self._wanted = np.fft.rfft2(_gaussian(self.rows, self.columns, spread))
        self._model = self._features(image, 1.0)
        self._alpha = self._train(self._model)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The target's x1, y1, x2, y2 in pixels."""
        (x1, y1), (x2, y2) = self.center - self.size / 2, self.center + self.size / 2
        return float(x1), float(y1), float(x2), float(y2)

    def update(self, image: Picture) -> float:
        """Find the target in the next frame and update the filter.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            the response at the target, about 1 at best.
        """
        found = []
        for scale in self.scales:
            kernel = self._correlate(self._features(image, scale), self._model)
            response = np.fft.irfft2(self._alpha * np.fft.rfft2(kernel), (self.rows, self.columns))
            weight = 1.0 if scale == 1 else self.scale_weight
            found.append((weight * float(response.max()), scale, response))
        _, scale, response = max(found, key=lambda f: f[0])
        pixels = self.size * self.window * scale / (self.columns, self.rows)  # frame pixels per cell
        self.center = np.clip(self.center + _peak(response) * pixels, 0, (image.shape[1], image.shape[0]))
        self.size = self.size * scale
        features = self._features(image, 1.0)
        self._alpha = (1 - self.rate) * self._alpha + self.rate * self._train(features)
        self._model = (1 - self.rate) * self._model + self.rate * features
        return float(response.max())

    def _features(self, image: Picture, scale: float) -> Float32Array:
        """Compute HOG of the window around the target, faded out towards its edges."""
        size = self.size * self.window * scale
        shown = self.columns * CELL, self.rows * CELL
        # The whole window, with the frame's edges repeated; pixel centres are integers.
        matrix = np.array([[size[0] / shown[0], 0, 0], [0, size[1] / shown[1], 0]])
        matrix[:, 2] = self.center - size / 2 + (matrix[[0, 1], [0, 1]] - 1) / 2
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shrink = int(min(matrix[0, 0], matrix[1, 1]))
        if shrink > 1:  # bilinear alone would skip pixels
            image, matrix = _shrunk(image, shrink), matrix / shrink
            matrix[:, 2] -= (shrink - 1) / 2 / shrink
        patch = cv2.warpAffine(image, matrix, shown, flags=how, borderMode=cv2.BORDER_REPLICATE)
        return hog(patch) * self._hann

    def _correlate(self, x: Float32Array, z: Float32Array) -> Float64Array:
        """Compute the Gaussian kernel of x with all shifts of z."""
        spectrum = (np.fft.rfft2(x, axes=(0, 1)) * np.conj(np.fft.rfft2(z, axes=(0, 1)))).sum(2)
        products = np.fft.irfft2(spectrum, x.shape[:2])
        distance = ((x**2).sum() + (z**2).sum() - 2 * products) / x.size
        kernel: Float64Array = np.exp(-np.maximum(distance, 0) / self.kernel_width**2)
        return kernel

    def _train(self, x: Float32Array) -> ComplexArray:
        kernel = np.fft.rfft2(self._correlate(x, x))
        return np.asarray(self._wanted / (kernel + self.regularisation))


def track(
    frames: Iterable[Picture], box: Sequence[float], scales: Sequence[float] = (1.0,)
) -> Iterator[tuple[float, float, float, float]]:
    """Follow a target through a video with `KCF`.

    Args:
        frames: (H, W, 3) uint8 RGB each, in order.
        box: x1, y1, x2, y2 of the target in the first frame, in pixels.
        scales: factors on the box's size that are tried in each frame.

    Yields:
        the target's x1, y1, x2, y2 per frame in pixels, starting with the given one.
    """
    tracker: KCF | None = None
    for frame in frames:
        if tracker is None:
            tracker = KCF(frame, box, scales)
        else:
            tracker.update(frame)
        yield tracker.box


def _gaussian(rows: int, columns: int, spread: float) -> Float64Array:
    """Compute a Gaussian with its peak, 1, at shift 0; it wraps around."""
    y, x = np.fft.fftfreq(rows, 1 / rows)[:, None], np.fft.fftfreq(columns, 1 / columns)
    return np.exp(-(x**2 + y**2) / (2 * spread**2))


def _peak(response: Float64Array) -> Float64Array:
    """Return the shift (x, y) of the largest response in cells, refined by a parabola."""
    row, column = divmod(int(response.argmax()), response.shape[1])
    return np.array([_vertex(response[row], column), _vertex(response[:, column], row)])


def _vertex(line: Float64Array, place: int) -> float:
    """Return the shift of a peak of a line that wraps around, refined by a parabola."""
    before, at, behind = line.take([place - 1, place, place + 1], mode="wrap")
    bend = before - 2 * at + behind
    whole = (place + len(line) // 2) % len(line) - len(line) // 2
    return float(whole + (0.5 * (before - behind) / bend if bend < 0 else 0.0))


def _shrunk(image: Picture, factor: int) -> Picture:
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return np.asarray(cv2.resize(image[: size[1] * factor, : size[0] * factor], size, interpolation=cv2.INTER_AREA))
