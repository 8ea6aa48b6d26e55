"""The identity of calibration data: hashes of sequences that no batching, order or padding changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from retain.activations.store import HASHES
from retain.errors import InputError

CONTENT = ("input_ids", "pixel_values", "input_features", "input_values", "inputs_embeds")
"""Names under which transformers' models take their main input."""

MORE = ("decoder_input_ids", "decoder_inputs_embeds", "token_type_ids")
"""Further inputs that second moments depend on."""

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
        """Add the sequences of a batch.

        Raises:
            InputError: it holds nothing that a model reads, or a mask that does not fit.
        """
        keys = list(batch) if isinstance(batch, Mapping) else [type(batch).__name__]
        content = {name: batch[name] for name in (*CONTENT, *MORE) if name in keys and isinstance(batch[name], Tensor)}
        if not any(name in CONTENT for name in content):
            raise InputError(
                f"a batch with {', '.join(map(str, keys)) or 'nothing'} in it: a calibration batch is a mapping of a "
                f"model's inputs, with one of {', '.join(CONTENT)} as tensors (B, …)."
            )
        first = next(iter(content.values()))
        masks = {
            name: batch[name] for name in ("attention_mask", "decoder_attention_mask") if batch.get(name) is not None
        }
        for name, mask in masks.items():
            ids = batch.get(name.replace("attention_mask", "input_ids"))
            if (
                not isinstance(mask, Tensor)
                or mask.dim() != 2
                or len(mask) != len(first)
                or (isinstance(ids, Tensor) and ids.shape != mask.shape)
            ):
                raise InputError(
                    f"{name} of shape {tuple(getattr(mask, 'shape', ()))}: a tensor (batch, tokens), 1 for what "
                    "counts, is needed."
                )
        rows = [hashlib.sha256() for _ in first]
        for name, values in content.items():
            mask = masks.get("decoder_attention_mask" if name.startswith("decoder_") else "attention_mask")
            if len(values) != len(rows):  # patches of images, without rows: the batch is hashed as one
                self.total = (self.total + int(_digest(name, values).hexdigest(), 16)) % HASHES
                continue
            for row, (value, digest) in enumerate(zip(values, rows, strict=True)):
                kept = value if mask is None or value.shape[:1] != mask.shape[1:] else value[mask[row].bool()]
                digest.update(_digest(name, kept).digest())
        for digest in rows:
            self.total = (self.total + int(digest.hexdigest(), 16)) % HASHES
            self.hashes.append(digest.hexdigest()[:SHORT])


def _digest(name: str, values: Tensor) -> Any:
    digest = hashlib.sha256(f"{name} {tuple(values.shape)[1:]} {values.dtype}".encode())
    digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest
