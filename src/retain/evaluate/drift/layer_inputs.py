"""The inputs of a model's layers and the outputs of its blocks, on a few ready inputs of any modality.

The caller brings batches as the model takes them: `input_ids` with `attention_mask`, or `pixel_values`. Padding is
masked out wherever a tensor has the mask's shape. Convolutions are skipped: `retain.hf.models.updates` knows linear
layers only, so there is no update of theirs to put inputs through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from retain.evaluate.drift.hidden_states import gives_states, states_of
from retain.hf.models.inference import device_of, evaluating

Batch = Mapping[str, Tensor]
"""One batch as the model takes it; `labels` in it are not passed on."""

TOKENS_OBSERVED = 256
"""Vectors (tokens, patches, positions) that each layer's input is looked at with."""
TOKENS_COMPARED = 512
"""Vectors on which hidden states of both sides are compared."""
ROWS_AT_ONCE = 2
"""Rows given to the model at a time: the logits of long texts are what takes memory."""
BYTES_HELD = 2**29
"""Most bytes of layer inputs, or of hidden states, held for one set of inputs; fewer vectors are kept if need be."""


@dataclass
class Observed:
    """Vectors met in one pass, the same ones for both sides.

    Attributes:
        inputs: each layer's input vectors (vectors, in_features), in the model's dtype. A layer that the model did not
            call is missing.
        states: after each block, in order, its output vectors (vectors, features); empty where the model gives none.
    """

    inputs: dict[str, Tensor] = field(default_factory=dict)
    states: tuple[Tensor, ...] = ()


def observe(
    model: nn.Module,
    batches: Sequence[Batch],
    names: Collection[str] = (),
    *,
    states: bool = False,
) -> Observed:
    """Run a model on the first rows of some batches until enough was seen, and keep what was met on the way.

    The model's train or eval mode and its hooks are given back.

    Args:
        model: any transformers model, with adapters or without.
        batches: ready inputs; without any, nothing is seen.
        names: layers whose inputs to keep, as `retain.hf.models.updates.changed_layers` names them.
        states: whether to keep hidden states too.
    """
    states = states and gives_states(model)
    layers, after = _Kept(TOKENS_OBSERVED), _Kept(TOKENS_COMPARED)
    with evaluating(model), _recording(model, names, layers) as masks:
        for batch in _portions(batches, device_of(model)):
            mask = batch.get("attention_mask")
            masks[:] = [mask] if mask is not None and mask.ndim == 2 else []
            outputs = model(**batch, **({"output_hidden_states": True} if states else {}))
            if states:
                for index, state in enumerate(states_of(outputs, _length(batch))):
                    after.add(str(index), state, masks)
            if (not names or layers.any_full) and after.all_full:
                break
    return Observed(layers.vectors, tuple(after.vectors.values()))


class _Kept:
    """The first vectors met by each name: as many of each as a limit says, which is halved while they are too large."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.vectors: dict[str, Tensor] = {}
        self._met: dict[str, int] = defaultdict(int)

    @property
    def any_full(self) -> bool:
        return any(met >= self.limit for met in self._met.values())

    @property
    def all_full(self) -> bool:
        """Also where nothing comes: there is nothing to wait for."""
        return all(met >= self.limit for met in self._met.values())

    def add(self, name: str, x: Tensor, masks: Sequence[Tensor]) -> None:
        """Keep the unmasked vectors of x (…, n) while there is room."""
        if self._met[name] >= self.limit:
            return
        found = _unmasked(x.detach(), masks)
        self._met[name] += len(found)
        parts = [self.vectors[name], found] if name in self.vectors else [found]
        self.vectors[name] = torch.cat(parts)[: self.limit].clone()
        while self.limit > 1 and sum(kept.nbytes for kept in self.vectors.values()) > BYTES_HELD:
            self.limit //= 2
            self.vectors = {key: kept[: self.limit].clone() for key, kept in self.vectors.items()}


def _unmasked(x: Tensor, masks: Sequence[Tensor]) -> Tensor:
    vectors = x.reshape(-1, x.shape[-1])
    for mask in masks:
        if x.shape[:-1] in {mask.shape, mask.reshape(-1).shape}:
            return vectors[mask.reshape(-1).to(vectors.device) != 0]
    return vectors


def _portions(batches: Sequence[Batch], device: torch.device) -> Iterator[dict[str, Tensor]]:
    """A few rows at a time; a batch whose tensors do not go row by row is given to the model in one piece."""
    for batch in batches:
        given = {key: value.to(device) for key, value in batch.items() if key != "labels"}
        rows = {len(value) for value in given.values()}
        step = ROWS_AT_ONCE if len(rows) == 1 else max(rows)
        for start in range(0, max(rows), step):
            yield {key: value[start : start + step] for key, value in given.items()}


def _length(batch: Batch) -> int | None:
    """Tokens in a row of text; None for what is no text."""
    ids = batch.get("input_ids", batch.get("inputs_embeds"))
    return None if ids is None else ids.shape[1]


@contextmanager
def _recording(model: nn.Module, names: Collection[str], kept: _Kept) -> Iterator[list[Tensor]]:
    """Record what the named layers are given; the list yielded is to hold the mask of the batch at hand, if any."""
    masks: list[Tensor] = []

    def keep(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            kept.add(
                name, next(value for value in (*arguments, *keywords.values()) if isinstance(value, Tensor)), masks
            )

        return torch.compiler.disable(hook)  # type: ignore[no-untyped-call]  # torch has no types here

    # A module trained in full beside its original is named without that step; the base calls the original.
    modules = {name.replace(".original_module", ""): module for name, module in model.named_modules()}
    hooks = [modules[n].register_forward_pre_hook(keep(n), with_kwargs=True) for n in names if n in modules]
    try:
        yield masks
    finally:
        for handle in hooks:
            handle.remove()
