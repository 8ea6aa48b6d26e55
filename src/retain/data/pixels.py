"""A decoded image as a viewer shows it: 8 bits of red, green and blue, upright, on white, whatever its file holds.

Modes whose values do not end at 255 are scaled by one rule, a function of the image's largest value:

* whole numbers of 16 bits: 65535 is white, or 4095 where no value is larger (12 bits in 16, as cameras, microscopes
  and scanners of the body write);
* whole numbers of 32 bits: 255 is white, or the first of 4095, 65535 and 2^31 − 1 that no value exceeds;
* floats: 1 is white, or the first of 255, 4095 and 65535 that no value exceeds.

Values below zero, beyond the last of these, or not finite have no such meaning and are refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
"""(height, width, 3)."""

TWELVE_BITS, SIXTEEN_BITS, THIRTY_TWO_BITS = 4095, 65535, 2**31 - 1

WHITES: dict[str, tuple[int, ...]] = {
    "I;16": (TWELVE_BITS, SIXTEEN_BITS),
    "I": (255, TWELVE_BITS, SIXTEEN_BITS, THIRTY_TWO_BITS),
    "F": (1, 255, TWELVE_BITS, SIXTEEN_BITS),
}
"""The values that may be white, by Pillow's mode (I;16 with any byte order)."""

ROUNDING = 1e-3
"""Share by which floats may exceed white: resizing overshoots a little."""


def as_shown(image: Image.Image) -> Pixels:
    """The first frame of an image as uint8 (height, width, 3).

    Raises:
        ValueError: its values have no meaning as an image; the message says which they are.
    """
    upright = _upright(image)
    mode = "I;16" if upright.mode.startswith("I;16") else upright.mode
    if mode in WHITES:
        grey = _scaled(np.asarray(upright), WHITES[mode])
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.has_transparency_data or mode in {"La", "RGBa", "PA", "LA"}:
        flat = upright.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", flat.size, "white"), flat).convert("RGB"))
    return np.asarray(upright.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its orientation tag says; a tag that cannot be read turns nothing, as in a viewer."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 -- damaged metadata raise whatever Pillow's parsers run into; the pixels are whole
        return image


def _scaled(values: NDArray[np.generic], whites: tuple[int, ...]) -> NDArray[np.uint8]:
    """Grey values (height, width) so that the first of `whites` which none exceeds becomes 255."""
    exact = np.asarray(values, dtype=np.float64)
    low, high = float(exact.min()), float(exact.max())
    slack = ROUNDING if 1 in whites else 0.0
    white = next((one for one in whites if high <= one * (1 + slack)), None)  # none where a value is not finite
    if white is None or not low >= -slack * white:
        raise ValueError(
            f"its values run from {low:g} to {high:g}, which are no shades of an image; save it with 8 bits a channel, "
            "or as numbers from 0 to 1"
        )
    return np.rint(np.clip(exact / white, 0, 1) * 255).astype(np.uint8)
