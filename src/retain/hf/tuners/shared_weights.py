"""Weights that several modules use, as an output head that is tied to the embeddings: nothing is merged into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from retain.errors import MergeError


def refuse_shared(model: nn.Module, layers: Mapping[str, Any]) -> None:
    """Refuse to merge into a weight that another module uses too.

    Args:
        model: with adapted layers.
        layers: those that would be merged, by their names in it.

    Raises:
        MergeError: names the modules and the cure.
    """
    owners: dict[int, list[str]] = {}
    for key, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(key)
    for key, layer in layers.items():
        shared = owners.get(id(getattr(layer.base_layer, "weight", None)), [])
        if others := [other for other in shared if other != f"{key}.base_layer"]:
            raise MergeError(
                f"{key} shares its weight with {', '.join(others)}; merging would change that too. Leave {key} out "
                f"of target_modules, or untie it first: give it a copy of its weight (new nn.Parameter) and set "
                "model.config.tie_word_embeddings = False."
            )
