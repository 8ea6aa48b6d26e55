"""Decoded images of every mode as a viewer shows them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from retain.data.pixels import as_shown

RAMP = np.arange(256, dtype=np.float64).reshape(16, 16)
GREY = np.repeat(RAMP.astype(np.uint8)[:, :, None], 3, axis=2)


def image(array):
    return Image.fromarray(array)


@pytest.mark.parametrize(
    ("array", "off"),
    [
        ((RAMP * 257).astype(np.uint16), 0),
        ((RAMP * 257).astype(">u2"), 0),
        (np.rint(RAMP / 255 * 4095).astype(np.uint16), 0),
        ((RAMP * 257).astype(np.int32), 0),
        (RAMP.astype(np.int32), 0),
        (np.rint(RAMP / 255 * (2**31 - 1)).astype(np.int32), 0),
        ((RAMP / 255).astype(np.float32), 0),
        ((RAMP / 255 * 1.0005 - 0.0002).astype(np.float32), 1),
        (RAMP.astype(np.float32), 0),
        ((RAMP * 257).astype(np.float32), 0),
        (RAMP.astype(np.uint8), 0),
    ],
)
def test_a_ramp_is_a_ramp_in_any_depth(array, off):
    found = as_shown(image(array)).astype(int)
    assert np.abs(found - GREY).max() <= off


@pytest.mark.parametrize(
    "array",
    [
        np.full((4, 4), -5, dtype=np.int32),
        np.full((4, 4), -1.5, dtype=np.float32),
        np.full((4, 4), np.nan, dtype=np.float32),
        np.full((4, 4), 1e9, dtype=np.float32),
    ],
)
def test_values_that_are_no_shades_are_refused(array):
    with pytest.raises(ValueError, match="no shades of an image; save it with 8 bits"):
        as_shown(image(array))


def colours():
    generator = np.random.default_rng(0)
    return generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)


def test_transparency_of_any_kind_lies_on_white():
    array = colours()
    clear = np.dstack([array, np.zeros((8, 8), np.uint8)])
    grey = np.dstack([array[:, :, 0], np.zeros((8, 8), np.uint8)])
    palette = image(array).quantize(4)
    palette.info["transparency"] = bytes([0] * 4)
    keyed = Image.new("RGB", (8, 8), (1, 2, 3))
    keyed.info["transparency"] = (1, 2, 3)
    for one in (image(clear), Image.fromarray(grey), palette, palette.convert("PA"), keyed):
        if one.mode == "PA":
            one.putalpha(0)
        assert as_shown(one).min() == 255, one.mode
    assert np.array_equal(as_shown(image(np.dstack([array, np.full((8, 8), 255, np.uint8)]))), array)


def test_other_modes_are_converted():
    assert as_shown(Image.new("1", (3, 2), 1)).tolist() == [[[255] * 3] * 3] * 2
    assert as_shown(Image.new("CMYK", (2, 2), (0, 0, 0, 255))).max() == 0
    assert as_shown(Image.new("YCbCr", (2, 2), (255, 128, 128))).min() == 255
    assert as_shown(Image.new("P", (3, 2))).shape == (2, 3, 3)
