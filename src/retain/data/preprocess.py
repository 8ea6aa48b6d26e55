"""Preprocessors, from items to a model's inputs: texts by a tokenizer, images by an image processor."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from retain.data.family import Modality
from retain.data.images import read_image
from retain.data.item import DataItem
from retain.data.lengths import NO_CUTS, Cuts
from retain.data.tokenizer_identity import tokenizer_identity
from retain.data.tokens import CHARACTERS_A_TOKEN, Encoded, cut_to, encode_example, pad
from retain.errors import InputError
from retain.hf.models.inference import padding_id
from retain.hf.models.positions import UNLIMITED, Positions

Inputs = dict[str, torch.Tensor]

Row = Any
"""One text or image to keep, as it goes into batches: a list of token ids, or an item with an image."""

TOKENS_PER_IMAGE = 64
"""Tokens that an image counts for in `calibrate_tokens`: about the patches of a small one."""


class Preprocessor(ABC):
    """Makes a model's inputs of items, and answers what others need to know of the model's input.

    Attributes:
        modality: what it reads.
        tokenizer: the tokenizer; None where it reads images.
        max_length: tokens of the longest sequence; None where it reads images.
        positions: those of the model. Nothing that is read or written may go beyond them.
    """

    modality: ClassVar[Modality]
    tokenizer: Any
    max_length: int | None
    positions: Positions

    @property
    def reads_text(self) -> bool:
        """True for texts, false for images."""
        return self.modality == "text"

    @abstractmethod
    def batch(self, items: Sequence[Any]) -> Inputs:
        """The inputs of labelled items (texts also as plain strings), as one batch."""

    @abstractmethod
    def lengths(self, items: Sequence[Any]) -> list[int]:
        """The length of each item, uncut, by which items are sorted into batches."""

    @abstractmethod
    def room(self, written: int = 0) -> int:
        """Tokens that a sequence may have before so many are written after it; everything that feeds a model asks here.

        Raises:
            InputError: the model cannot write so many.
        """

    @abstractmethod
    def cuts(self, items: Sequence[DataItem]) -> Cuts:
        """The items that are cut because they are too long."""

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> list[Encoded]:
        """Token ids of examples, as a language model learns them.

        Raises:
            InputError: the preprocessor reads images, or the chat template is missing or refuses.
        """

    @abstractmethod
    def calibration_rows(self, items: Sequence[DataItem], tokens: int, *, in_windows: bool) -> list[Row]:
        """Rows of items to calibrate on or to replay.

        Args:
            items: as `DataItem.for_calibration` gives them.
            tokens: how many the rows have together at most; an image counts for `TOKENS_PER_IMAGE`.
            in_windows: true for language models, which read a long text in windows; a classifier reads its beginning.
        """

    @abstractmethod
    def predicting_rows(self, rows: Sequence[Row]) -> list[Row]:
        """The rows for which a model predicts anything: sequences of two tokens or more, and every image."""

    @abstractmethod
    def row_batches(self, rows: Sequence[Row], size: int, longest: int | None = None) -> list[Inputs]:
        """Inputs of rows in batches of so many; sequences are cut to `longest` tokens and sorted by length."""

    @abstractmethod
    def row_content(self, row: Row) -> Any:
        """The content of a row as a plain value, for hashes."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write it as Transformers reads it."""

    @abstractmethod
    def identity(self) -> str:
        """A hash of all that it does: two preprocessors of one identity make the same inputs."""


@dataclass(frozen=True)
class TextPreprocessor(Preprocessor):
    """Reads texts; those of more than `max_length` tokens are cut at their end.

    Attributes:
        tokenizer: the tokenizer.
        max_length: tokens of the longest sequence: as requested, but no more than the model has positions.
        positions: those of the model.
    """

    modality: ClassVar[Modality] = "text"

    tokenizer: Any
    max_length: int
    positions: Positions = UNLIMITED

    def __post_init__(self) -> None:
        """Lower the length to the model's positions."""
        if self.positions.limit is not None:
            object.__setattr__(self, "max_length", min(self.max_length, max(self.positions.limit, 1)))

    def batch(self, items: Sequence[Any]) -> Inputs:
        """`input_ids` and `attention_mask` (and `token_type_ids`), each int64 (B, T), padded on the right.

        Args:
            items: labelled texts, or plain strings.
        """
        pairs = map(self._parts, items)
        rows = [self.tokenizer(text, pair, truncation=True, max_length=self.max_length) for text, pair in pairs]
        return dict(self.tokenizer.pad(rows, padding_side="right", return_tensors="pt"))

    def lengths(self, items: Sequence[Any]) -> list[int]:
        """Tokens of each item with the marks around it, uncut; a text that is far too long counts as too long."""
        parts = list(map(self._parts, items))
        if any(pair is not None for _, pair in parts):
            return [len(self.tokenizer(text, pair, verbose=False)["input_ids"]) for text, pair in parts]
        texts = [text for text, _ in parts]
        return [len(ids) for ids in self.tokenizer(texts, verbose=False)["input_ids"]] if texts else []

    def _parts(self, item: Any) -> tuple[str, str | None]:
        """Text and second text of an item, as much of each as can count."""
        text, pair = (item, None) if isinstance(item, str) else (item.text, item.text_pair)
        most = CHARACTERS_A_TOKEN * self.max_length
        return text[:most], None if pair is None else pair[:most]

    def room(self, written: int = 0) -> int:
        """`max_length`, or what the model's positions leave beside what is written."""
        limit = self.positions.limit
        if limit is None:
            return self.max_length
        if limit <= written:
            raise InputError(
                f"max_new_tokens: {written} tokens are to be written, but this model has only {limit} positions for "
                f"prompt and answer together; say --max-new-tokens {max(limit // 2, 1)} (max_new_tokens in a suite "
                "file)."
            )
        return min(self.max_length, limit - written)

    def cuts(self, items: Sequence[DataItem]) -> Cuts:
        """The examples, or else the labelled texts, that are longer than `max_length`."""
        examples = [item for item in items if item.trains == "causal-lm"]
        if examples:
            return Cuts.among([[row] for row in self.encode(examples)], self.max_length)
        lengths = self.lengths([item for item in items if item.is_labelled])
        cut = sum(length > self.max_length for length in lengths)
        return Cuts(cut, longest=min(max(lengths, default=0), self.max_length), limit=self.max_length)

    def encode(self, examples: Sequence[Any]) -> list[Encoded]:
        """As `retain.data.tokens.encode_example`."""
        return [encode_example(self.tokenizer, example, self.max_length) for example in examples]

    def calibration_rows(self, items: Sequence[DataItem], tokens: int, *, in_windows: bool) -> list[Row]:
        """Token ids; of a classifier with the marks around a text that it reads in training."""
        if in_windows:
            rows = [row for item in items for row in item.calibration_tokens(self.tokenizer, self.max_length)]
        else:
            texts = [item.full_text for item in items]
            rows = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        return cut_to(rows, tokens)

    def predicting_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Sequences of two tokens or more."""
        return [row for row in rows if len(row) > 1]

    def row_batches(self, rows: Sequence[Row], size: int, longest: int | None = None) -> list[Inputs]:
        """`input_ids` and `attention_mask`; sequences of like length are together."""
        return padded_batches([list(row)[:longest] for row in rows], size, padding_id(self.tokenizer))

    def row_content(self, row: Row) -> list[int]:
        """The token ids."""
        return list(row)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(folder)

    def identity(self) -> str:
        """A hash of all that the tokenizer does."""
        return self._identity

    @cached_property
    def _identity(self) -> str:
        return tokenizer_identity(self.tokenizer)


@dataclass(frozen=True)
class ImagePreprocessor(Preprocessor):
    """Reads images as the model's own image processor says: size, crop, mean and spread of the colours."""

    modality: ClassVar[Modality] = "image"

    processor: Any
    tokenizer: None = field(default=None, init=False)
    max_length: None = field(default=None, init=False)
    positions: Positions = field(default=UNLIMITED, init=False)

    def batch(self, items: Sequence[Any]) -> Inputs:
        """`pixel_values`, float32 (B, channels, height, width)."""
        return {"pixel_values": torch.stack([self.pixels(item) for item in items])}

    def pixels(self, item: Any) -> torch.Tensor:
        """One image, float32 (channels, height, width), as an epoch sees it where it is a `View`.

        Raises:
            InputError: the file is no image.
        """
        values = self.processor(images=read_image(item), return_tensors="pt", input_data_format="channels_last")
        return torch.as_tensor(values["pixel_values"][0])

    def lengths(self, items: Sequence[Any]) -> list[int]:
        """1 for each: all images become one size."""
        return [1] * len(items)

    def room(self, written: int = 0) -> int:
        """Refused.

        Raises:
            InputError: always.
        """
        raise InputError(f"{written} tokens are to be written, but this model reads images and writes nothing.")

    def cuts(self, items: Sequence[DataItem]) -> Cuts:
        """None: images are scaled."""
        del items
        return NO_CUTS

    def encode(self, examples: Sequence[Any]) -> list[Encoded]:
        """Refused.

        Raises:
            InputError: always.
        """
        raise InputError(f"{len(examples)} examples are text, but this model reads images; give it labelled images.")

    def calibration_rows(self, items: Sequence[DataItem], tokens: int, *, in_windows: bool) -> list[Row]:
        """The first images, at least one."""
        del in_windows
        return list(items)[: max(1, tokens // TOKENS_PER_IMAGE)]

    def predicting_rows(self, rows: Sequence[Row]) -> list[Row]:
        """All of them."""
        return list(rows)

    def row_batches(self, rows: Sequence[Row], size: int, longest: int | None = None) -> list[Inputs]:
        """`pixel_values`, in the order of the rows."""
        del longest
        return [self.batch(rows[start : start + size]) for start in range(0, len(rows), size)]

    def row_content(self, row: Row) -> str:
        """The item, with its file's hash."""
        return str(row.content())

    def save(self, folder: Path) -> None:
        """Write the image processor."""
        self.processor.save_pretrained(folder)

    def identity(self) -> str:
        """A hash of the processor's settings."""
        return _hash(self.processor.to_dict())


def padded_batches(rows: Sequence[Sequence[int]], size: int, pad_id: int) -> list[Inputs]:
    """Sequences of like length together, padded on the right: `input_ids` and `attention_mask`, int64 (B, T)."""
    ordered = sorted(rows, key=len)
    parts = (ordered[start : start + size] for start in range(0, len(ordered), size))
    return [dict(zip(("input_ids", "attention_mask"), padded(part, pad_id), strict=True)) for part in parts]


def padded(
    rows: Sequence[Sequence[int]], pad_id: int, *, left: bool = False, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences as one batch: `input_ids` and `attention_mask`, int64 (B, T).

    Args:
        rows: token ids.
        pad_id: fills the shorter ones up, at their right or left end.
        left: whether at the left.
        device: where to.
    """
    ids = torch.tensor(pad(rows, pad_id, left=left), device=device)
    return ids, torch.tensor(pad([[1] * len(row) for row in rows], 0, left=left), device=device)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
