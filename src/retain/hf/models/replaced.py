"""Embeddings that PEFT's own loader replaced: the base with its adapter off is then no longer the base.

An adapter's file may bring whole embeddings or an output head (`save_embedding_layers`, which PEFT turns on by itself
where the vocabulary was resized or the embeddings are adapted). PEFT writes these into the base, and nothing in the
model tells of it. So evenly drawn rows are compared with those in the base's own files, where this machine has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.utils import cached_file

from retain.errors import InputError
from retain.hf.models.describe import base_tensors
from retain.hf.models.sides import root_of
from retain.hf.models.vocabulary import embeddings_of
from retain.records.reading import read_json_mapping

ROWS = 64
"""Rows of each tensor that are compared, the first and the last common one among them."""

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


@torch.no_grad()
def replaced_embeddings(model: nn.Module) -> str | None:
    """The reason why a model's embeddings are not those that its base's files hold, while its other weights are.

    Args:
        model: with adapters or without; whatever cannot be compared counts as the same.

    Returns:
        A clause that names the weight and the files, or None.
    """
    root: Any = root_of(model)
    source = str(getattr(getattr(root, "config", None), "_name_or_path", "") or "")
    tensors, vocabulary = dict(base_tensors(root)), embeddings_of(root)
    parts = [name for name, module in root.named_modules() if any(module is one for one in vocabulary)]
    names = [name for part in parts if (name := f"{part}.weight") in tensors]
    if not source or not names:
        return None
    files = _Files.of(source)
    if files is None:
        return None
    changed = [name for name in names if files.agrees(name, tensors[name]) is False]
    if not changed:
        return None
    others = (name for name, tensor in tensors.items() if name not in names and tensor.ndim == 2)
    known = next((found for name in others if (found := files.agrees(name, tensors[name])) is not None), None)
    if not known:  # another model altogether, whose files these are not
        return None
    return f"its {changed[0]} is not what the files of {source} hold, as when PEFT loads embeddings with an adapter"


class _Files:
    """The safetensors files of a model, read a few rows at a time."""

    def __init__(self, places: dict[str, Path]) -> None:
        self._places = places

    @classmethod
    def of(cls, source: str) -> _Files | None:
        """The files of a folder, or of a hub id that is in the cache; None where there are none."""
        try:
            index = _place(source, _INDEX)
            if index is not None:
                parts = read_json_mapping(index).get("weight_map", {})
                return cls({name: index.with_name(str(part)) for name, part in parts.items()})
            single = _place(source, _SINGLE)
            if single is None:
                return None
            with safe_open(single, framework="pt") as file:
                return cls(dict.fromkeys(file.keys(), single))
        except (OSError, ValueError, SafetensorError, InputError):
            return None

    def agrees(self, name: str, tensor: Tensor) -> bool | None:
        """Whether rows of a tensor are those in the file; None where that cannot be told."""
        stored = next(iter(self._named(name)), None)
        if stored is None or type(tensor.data) is not Tensor or tensor.device.type == "meta" or tensor.ndim != 2:
            return None
        try:
            with safe_open(self._places[stored], framework="pt") as file:
                view = file.get_slice(stored)
                rows, width = view.get_shape()
                if width != tensor.shape[1] or not tensor.is_floating_point():
                    return None
                places = sorted(set(torch.linspace(0, min(rows, len(tensor)) - 1, ROWS).long().tolist()))
                there = torch.stack([view[place] for place in places])
        except (OSError, ValueError, SafetensorError):
            return None
        here = tensor.detach()[places].cpu()
        narrower = min((there.dtype, here.dtype), key=lambda dtype: torch.finfo(dtype).bits)
        return bool(torch.equal(there.to(narrower), here.to(narrower)))

    def _named(self, name: str) -> Iterator[str]:
        """The names in the files of what the model calls so; files of bare bodies leave the first part out."""
        short = name.partition(".")[2]
        yield from (one for one in (name, short) if one in self._places)


def _place(source: str, name: str) -> Path | None:
    folder = Path(source)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    found = cached_file(
        source,
        name,
        local_files_only=True,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)
