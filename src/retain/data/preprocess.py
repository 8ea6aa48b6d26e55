"""From items to a model's inputs: texts by a tokenizer, images by an image processor (PIL and NumPy alone)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from retain.data.corruptions import corrupt
from retain.data.items import LabelledImage, LabelledText
from retain.errors import InputError

Inputs = dict[str, torch.Tensor]

SHOWN_IMAGES = 10


@dataclass(frozen=True)
class TextPreprocessor:
    """Reads texts; what is longer than `max_length` tokens is cut at its end."""

    tokenizer: Any
    max_length: int

    def batch(self, items: Sequence[Any]) -> Inputs:
        """`input_ids` and `attention_mask` (and `token_type_ids`), each int64 (B, T), padded on the right.

        Args:
            items: labelled texts, or plain strings.
        """
        pairs = [(item, None) if isinstance(item, str) else (item.text, item.text_pair) for item in items]
        rows = [self.tokenizer(text, pair, truncation=True, max_length=self.max_length) for text, pair in pairs]
        return dict(self.tokenizer.pad(rows, padding_side="right", return_tensors="pt"))

    def lengths(self, items: Sequence[Any]) -> list[int]:
        """Tokens of each item, uncut; for sorting and for counting what is cut."""
        texts = [
            item if isinstance(item, str) else " ".join(filter(None, (item.text, item.text_pair))) for item in items
        ]
        return [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]] if texts else []


@dataclass(frozen=True)
class ImagePreprocessor:
    """Reads images as the model's own image processor says: size, crop, mean and spread of the colours."""

    processor: Any

    def batch(self, items: Sequence[LabelledImage]) -> Inputs:
        """`pixel_values`, float32 (B, channels, height, width)."""
        return {"pixel_values": torch.stack([self.pixels(item) for item in items])}

    def pixels(self, item: LabelledImage) -> torch.Tensor:
        """One image, float32 (channels, height, width).

        Raises:
            InputError: the file is no image.
        """
        array = read_image(item)
        found = self.processor(images=array, return_tensors="pt", input_data_format="channels_last")
        return torch.as_tensor(found["pixel_values"][0])

    def lengths(self, items: Sequence[Any]) -> list[int]:
        """All images become one size."""
        return [1] * len(items)


Preprocessor = TextPreprocessor | ImagePreprocessor


def read_image(item: LabelledImage) -> NDArray[np.uint8]:
    """A image as uint8 (height, width, 3), on white where it is transparent, corrupted where the item says so.

    Raises:
        InputError: the file is no image.
    """
    try:
        with Image.open(item.image) as image:
            flat = image.convert("RGBA") if image.mode in ("RGBA", "LA", "P", "PA") else image.convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InputError(f"{item.image}: cannot be read as a image ({error}).") from error
    if flat.mode == "RGBA":
        flat = Image.alpha_composite(Image.new("RGBA", flat.size, "white"), flat).convert("RGB")
    array = np.asarray(flat, dtype=np.uint8)
    if item.corruption is None:
        return array
    kind, severity, seed = item.corruption
    return corrupt(array, kind, severity, np.random.default_rng(_seed(seed, item, kind, severity)))


def broken_images(items: Sequence[Any]) -> list[str]:
    """A sentence for each image whose file cannot be opened as one, ten at most; only the header is read."""
    found = []
    for path in dict.fromkeys(item.image for item in items if isinstance(item, LabelledImage)):
        try:
            with Image.open(path):
                pass
        except (OSError, UnidentifiedImageError, ValueError) as error:
            found.append(f"{path}: cannot be read as a image ({error}).")
    more = [f"and {len(found) - SHOWN_IMAGES} more images cannot be read."] if len(found) > SHOWN_IMAGES else []
    return found[:SHOWN_IMAGES] + more


def _seed(seed: int, item: LabelledImage, kind: str, severity: int) -> list[int]:
    """The same image is corrupted in the same way wherever it lies and in whichever order it is read."""
    key = f"{item.group or item.image.rsplit('/', 1)[-1]} {kind}".encode()
    return [seed, severity, *key]


def labels_of(items: Sequence[Any]) -> list[str]:
    """The classes of labelled texts or images, in order of their names."""
    return sorted({item.label for item in items if isinstance(item, (LabelledText, LabelledImage))})
