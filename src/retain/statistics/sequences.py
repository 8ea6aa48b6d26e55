"""What identifies the data of a calibration: hashes of sequences that no batching, order or padding changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from retain.errors import InputError
from retain.statistics.store import HASHES

CONTENT = ("input_ids", "pixel_values", "input_features", "input_values", "inputs_embeds")
"""Names under which transformers' models take their main input."""

SHORT = 16
"""Hexadecimal digits of a sequence's hash that are kept."""


@dataclass
class Sequences:
    """The hashes of the sequences seen so far."""

    total: int = 0
    hashes: list[str] = field(default_factory=list)

    @property
    def data_hash(self) -> str:
        """SHA-256 values of all sequences, summed modulo 2^256, in hexadecimal."""
        return f"{self.total:064x}"

    def add(self, batch: Mapping[str, Any]) -> None:
        """Take note of a batch.

        Raises:
            InputError: it holds nothing that a model reads, or a mask that does not fit.
        """
        content = next((batch[name] for name in CONTENT if isinstance(batch.get(name), Tensor)), None)
        if content is None:
            raise InputError(
                f"a batch with {', '.join(map(str, batch)) or 'nothing'} in it: a calibration batch is a mapping of a "
                f"model's inputs, with one of {', '.join(CONTENT)} as tensors (B, …)."
            )
        mask = batch.get("attention_mask")
        if mask is not None and (mask.dim() != 2 or len(mask) != len(content)):
            raise InputError(
                f"attention_mask of shape {tuple(mask.shape)}: a mask of (batch, tokens), 1 for what counts, is needed."
            )
        for row, values in enumerate(content):
            kept = values if mask is None or values.shape[:1] != mask.shape[1:] else values[mask[row].bool()]
            digest = hashlib.sha256(f"{tuple(kept.shape)[1:]} {kept.dtype}".encode())
            digest.update(kept.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            self.total = (self.total + int(digest.hexdigest(), 16)) % HASHES
            self.hashes.append(digest.hexdigest()[:SHORT])
