"""Thirteen ways to corrupt an image, each in five severities, after ImageNet-C.

Kinds and constants are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019 (arXiv 1903.12261); the code is ours. Figures made with it compare a tuned model with its
base, not with published ImageNet-C results, because we knowingly differ:

* Size. The paper's constants are for 224 × 224 pixels. Lengths in pixels (blur radii) are scaled by min(H, W)/224, so
  that an image looks alike at any size. Zoom, pixelation, fog and elastic displacement are relative to the size as
  they are. Noise is drawn for each pixel and JPEG works on blocks of 8: these are not scaled, so they are the same
  per pixel and coarser, relative to the motif, in a smaller image.
* Blur kernels are spread over pixels bilinearly, so that a radius below one pixel still blurs.
* Cells of pixelation may cut through pixels, which then show a mean of both (the paper takes the nearer one).
* Fog is a sum of octaves of smooth noise instead of the diamond-square plasma, of one roughness, in amounts 1 … 3
  (1.5 … 3 and rougher each time in the paper): a rougher cloud of equal range hides less.
* At equal draws each severity is, as a rule, further from the original than the one before. So saturation only grows
  (the paper's first two steps fade colours), and the elastic displacement has the root mean square 0.5, 1, 1.5, 2, 3 %
  of the size (the paper mixes affine shifts and jitter). Greys stay grey under saturation, having no hue.
* The paper's snow, frost and glass blur are left out.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, signal

from retain.errors import InputError

Pixels = NDArray[np.uint8]
"""(H, W, 3), red, green, blue, 0 … 255."""
Floats = NDArray[np.float64]
Corruption = Callable[[Floats, int, np.random.Generator], Floats]
"""From an image (H, W, 3) in [0, 1], a severity counted from 0, and a source of draws to an image (clipped later)."""

SEVERITIES = (1, 2, 3, 4, 5)
REFERENCE_PIXELS = 224
SMALLEST_PIXELS = 16
FOG_DECAY = 1.7
"""By how much each octave of fog is weaker than the one before, twice as coarse."""


def corrupt(image: Pixels, kind: str, severity: int, generator: np.random.Generator) -> Pixels:
    """Corrupt an image.

    Args:
        image: (H, W, 3) uint8; `as_rgb` makes this of grey images and images with transparency.
        kind: a name in `CORRUPTIONS`.
        severity: 1 (slight) … 5 (strong).
        generator: source of all draws; `generator_for` makes one that belongs to the image.

    Returns:
        A new array (H, W, 3) uint8.

    Raises:
        InputError: the kind or the severity is unknown, or the array is no such image.
    """
    problems = []
    if kind not in CORRUPTIONS:
        problems.append(f"corruption {kind!r} is unknown; choose from {', '.join(CORRUPTIONS)}.")
    if severity not in SEVERITIES:
        problems.append(f"severity {severity!r} is unknown; choose from 1 (slight) to 5 (strong).")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        problems.append(
            f"an image must be an array (height, width, 3) of uint8, found {image.shape} of {image.dtype}; "
            "as_rgb converts grey images and images with transparency."
        )
    elif min(image.shape[:2]) < SMALLEST_PIXELS:
        problems.append(f"an image of {image.shape[:2]} pixels is too small to corrupt; at least 16 × 16.")
    if problems:
        raise InputError(problems)
    return _to_bytes(CORRUPTIONS[kind](image / 255.0, severity - 1, generator))


def generator_for(seed: int, image: str, kind: str, severity: int) -> np.random.Generator:
    """A generator that depends on these four only: the same on every machine, in whatever order images come.

    Args:
        seed: of the suite.
        image: its name or hash.
        kind: of the corruption.
        severity: 1 … 5.
    """
    key = "\0".join((str(seed), image, kind, str(severity))).encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))


def as_rgb(image: NDArray[Any]) -> Pixels:
    """An image as (H, W, 3) uint8: grey (H, W) or (H, W, 1) is repeated, transparency (H, W, 4) is laid on white.

    Raises:
        InputError: another shape, or no uint8.
    """
    if image.dtype == np.uint8 and image.ndim == 2:
        image = image[:, :, None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in {1, 3, 4}:
        raise InputError(
            f"an image must be uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), found {image.shape} of "
            f"{image.dtype}; decode it with Pillow and give numpy.asarray of it."
        )
    if image.shape[2] == 4:
        opacity = image[:, :, 3:] / 255.0
        return _to_bytes(opacity * image[:, :, :3] / 255.0 + 1 - opacity)
    return np.array(np.broadcast_to(image, (*image.shape[:2], 3)))


def _gaussian_noise(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    return x + generator.normal(scale=(0.08, 0.12, 0.18, 0.26, 0.38)[step], size=x.shape)


def _shot_noise(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    photons = (60, 25, 12, 5, 3)[step]
    return np.asarray(generator.poisson(x * photons) / photons)


def _impulse_noise(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    drawn, share = generator.random(x.shape), (0.03, 0.06, 0.09, 0.17, 0.27)[step]
    return np.where(drawn < share / 2, 0.0, np.where(drawn < share, 1.0, x))


def _defocus_blur(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    del generator
    radius = (3, 4, 6, 8, 10)[step] * _scale(x)
    around, out = np.meshgrid(np.arange(96) * 2 * math.pi / 96, np.sqrt((np.arange(48) + 0.5) / 48) * radius)
    return _blurred(x, (out * np.sin(around)).ravel(), (out * np.cos(around)).ravel(), np.ones(around.size))


def _motion_blur(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    length, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[step]
    angle = generator.uniform(-math.pi / 4, math.pi / 4)
    along = np.linspace(0, length, 1 + 8 * length)
    weights = np.exp(-((along / sigma) ** 2) / 2)
    along = along * _scale(x)
    return _blurred(x, along * math.sin(angle), along * math.cos(angle), weights)


def _zoom_blur(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    del generator
    top, by = ((0.10, 0.01), (0.15, 0.01), (0.20, 0.02), (0.25, 0.02), (0.30, 0.03))[step]
    zooms = 1 + by * np.arange(round(top / by) + 1)
    return np.asarray((x + sum(_zoomed(x, zoom) for zoom in zooms)) / (len(zooms) + 1))


def _fog(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    amount = (1.0, 1.5, 2.0, 2.5, 3.0)[step]
    cloud, height, width = np.zeros(x.shape[:2]), *x.shape[:2]
    for octave in range(1, 8):
        cells = generator.normal(size=(2**octave + 1, 2**octave + 1))
        rows, columns = (np.linspace(0, 2**octave, size) for size in (height, width))
        cloud += ndimage.map_coordinates(cells, np.meshgrid(rows, columns, indexing="ij"), order=1) / FOG_DECAY**octave
    cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min())
    brightest = x.max()
    return np.asarray((x + amount * cloud[:, :, None]) * brightest / (brightest + amount))


def _brightness(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    """Value of hue, saturation, value raised: all three channels times value'/value; black becomes grey."""
    del generator
    value = x.max(axis=2, keepdims=True)
    raised = np.minimum(value + (0.1, 0.2, 0.3, 0.4, 0.5)[step], 1)
    return np.asarray(np.where(value > 0, x * raised / np.where(value > 0, value, 1), raised))


def _contrast(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    del generator
    mean = x.mean(axis=(0, 1), keepdims=True)
    return np.asarray((x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[step] + mean)


def _saturate(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    """Saturation s = 1 − min/max grows to f·s + o, hue and value stay: value − (value − x)·s'/s."""
    del generator
    factor, offset = ((1.25, 0.0), (1.5, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[step]
    value = x.max(axis=2, keepdims=True)
    colour = value - x.min(axis=2, keepdims=True)
    s = colour / np.where(value > 0, value, 1)
    grown = np.minimum(factor * s + offset, 1)
    return np.asarray(value - (value - x) * np.where(s > 0, grown / np.where(s > 0, s, 1), 1))


def _elastic_transform(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    size = min(x.shape[:2])
    places = np.indices(x.shape[:2], dtype=np.float64)
    for axis in (0, 1):
        shift = ndimage.gaussian_filter(generator.uniform(-1, 1, x.shape[:2]), 0.04 * size, mode="reflect")
        places[axis] += shift * (0.005, 0.01, 0.015, 0.02, 0.03)[step] * size / math.sqrt(np.mean(shift**2))
    return np.stack([ndimage.map_coordinates(x[:, :, c], places, order=1, mode="reflect") for c in range(3)], axis=2)


def _pixelate(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    """Mean over each cell of a coarser grid, seen through the pixels again: OᵀO for rows and for columns."""
    del generator
    rows, columns = (_overlap(n, round((0.6, 0.5, 0.4, 0.3, 0.25)[step] * n)) for n in x.shape[:2])
    return np.asarray(np.einsum("ih,jw,hwc->ijc", rows.T @ rows, columns.T @ columns, x, optimize=True))


def _jpeg_compression(x: Floats, step: int, generator: np.random.Generator) -> Floats:
    del generator
    file = io.BytesIO()
    Image.fromarray(_to_bytes(x)).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[step])
    return np.asarray(Image.open(file)) / 255.0


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturate": _saturate,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
"""Every kind by name: noise, blur, weather, digital."""


def _scale(x: Floats) -> float:
    return float(min(x.shape[:2]) / REFERENCE_PIXELS)


def _blurred(x: Floats, rows: Floats, columns: Floats, weights: Floats) -> Floats:
    """Weighted mean of x shifted by (rows, columns) pixels, one shift for each weight, borders mirrored.

    The shifts become one kernel; each spreads its weight bilinearly over the four places of the grid around it.
    """
    reach = 1 + math.ceil(max(np.abs(rows).max(), np.abs(columns).max()))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    low_row, low_column = np.floor(rows), np.floor(columns)
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - np.abs(rows - low_row - down)) * (1 - np.abs(columns - low_column - right))
            places = (low_row + down + reach).astype(int), (low_column + right + reach).astype(int)
            np.add.at(kernel, places, share * weights)
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return np.asarray(signal.fftconvolve(padded, kernel[:, :, None] / kernel.sum(), mode="valid", axes=(0, 1)))


def _zoomed(x: Floats, zoom: float) -> Floats:
    """The middle of an image, enlarged to its full size, bilinearly."""
    lines = [(n - 1) / 2 + (np.arange(n) - (n - 1) / 2) / zoom for n in x.shape[:2]]
    places = np.meshgrid(*lines, indexing="ij")
    return np.stack([ndimage.map_coordinates(x[:, :, c], places, order=1) for c in range(3)], axis=2)


def _overlap(pixels: int, cells: int) -> Floats:
    """O (cells, pixels): length that each cell shares with each pixel, over the root of the cell's length."""
    edges = np.arange(cells + 1)[:, np.newaxis] * (pixels / cells)
    starts = np.arange(pixels)
    shared = np.minimum(edges[1:], starts + 1) - np.maximum(edges[:-1], starts)
    return np.asarray(np.maximum(shared, 0) / math.sqrt(pixels / cells))


def _to_bytes(x: Floats) -> Pixels:
    return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
