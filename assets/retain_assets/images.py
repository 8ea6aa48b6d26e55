"""Pictures on disk: PNG files in plain RGB or grey, for the assets that hold images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as LabelledImage


def on_white(content: bytes) -> bytes:
    """A PNG of any kind as an RGB PNG, what is transparent in it white.

    Without this a reader that drops the transparency shows what lies under it, often black.
    """
    from PIL import Image  # noqa: PLC0415 - not needed where the images are already there

    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return _png(Image.alpha_composite(ground, picture).convert("RGB"))


def grey(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of (height, width) grey values."""
    from PIL import Image  # noqa: PLC0415 - as above

    return _png(Image.fromarray(pixels))


def put(content: bytes, root: Path, name: str) -> str:
    """Write `content` to `name` below `root`, making folders; return `name` for the row."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    return name


def _png(picture: LabelledImage) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
