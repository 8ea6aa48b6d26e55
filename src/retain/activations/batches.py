"""Calibration batches as a model takes them, on its device; no more of the model is run than is observed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from retain.errors import InputError


class Runner:
    """Runs a model for calibration.

    Args:
        root: the transformers model, or any module whose forward takes a batch's entries by name.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._generates = bool(getattr(root, "can_generate", lambda: False)())
        parameters = inspect.signature(root.forward).parameters
        self._names = frozenset(parameters)
        self._takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        inner = getattr(root, getattr(root, "base_model_prefix", "") or "-", None)
        self._inner = inner if isinstance(inner, nn.Module) else None

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        places = (p.device for p in self._root.parameters())
        return next((place for place in places if place.type != "meta"), torch.device("cpu"))  # meta: offloaded to disk

    def part_for(self, layers: Mapping[str, nn.Module]) -> nn.Module:
        """The model without its head where no observed layer is in the head; else the model itself."""
        if self._inner is None:
            return self._root
        inside = {id(module) for module in self._inner.modules()}
        taken = frozenset(inspect.signature(self._inner.forward).parameters)
        covers = all(id(layer) in inside for layer in layers.values())
        return self._inner if covers and "input_ids" in taken & self._names else self._root

    def inputs(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a batch: on the model's device, without labels, positions counted from the first real token."""
        given = {
            key: value.to(self.device) if isinstance(value, Tensor) else value
            for key, value in batch.items()
            if key != "labels" and (key in self._names or self._takes_any)
        }
        if getattr(getattr(self._root, "config", None), "is_encoder_decoder", False) and not any(
            key.startswith("decoder_input") for key in given
        ):
            raise InputError("an encoder-decoder reads two texts; give decoder_input_ids beside input_ids.")
        if isinstance(given.get("decoder_input_ids"), Tensor):
            _keep_streams_apart(given)
        mask = given.get("attention_mask")
        if not isinstance(mask, Tensor) or mask.dim() != 2:
            mask = None
        if (
            mask is not None
            and not bool(mask[:, 0].all())
            and self._generates
            and "position_ids" in self._names
            and "position_ids" not in given
        ):
            # as transformers' own generate does; the values at padding are of no matter
            given["position_ids"] = (mask.long().cumsum(dim=-1) - 1).clamp_min(0)
        if "use_cache" in self._names:
            given["use_cache"] = False
        return given


def _keep_streams_apart(given: dict[str, Any]) -> None:
    """Give the decoder's tokens a mask of their own and another width than the encoder's, to tell the masks apart."""
    ids, mask = given["decoder_input_ids"], given.get("decoder_attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    other = given.get("attention_mask")
    if isinstance(other, Tensor) and other.shape == mask.shape:
        ids, mask = (pad(tensor, (0, 1)) for tensor in (ids, mask))
    given |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
