"""Merge adapters into the model that carries them, layer by layer and rounded once; no second model is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.models.sides import root_of
from retain.hf.models.vocabulary import embeddings_of
from retain.hf.scaling.merged_values import merged_values, outermost_parts
from retain.hf.tuners.base_weight import quantization_backend


@dataclass(frozen=True)
class Rounding:
    """What rounding the merged weights to their dtype took of the update.

    Attributes:
        lost: ‖W − W'‖_F over all changed weights.
        size: ‖W − W0‖_F.
    """

    lost: float
    size: float

    @property
    def share(self) -> float:
        """‖W − W'‖ / ‖W − W0‖."""
        return self.lost / self.size if self.size > 0 else 0.0


@torch.no_grad()
def merge_in_place(model: Any, dtype: torch.dtype) -> tuple[nn.Module, Rounding]:
    """Write W0 + ΔW of the active adapters into the model's own layers and take the adapters off.

    A weight that is tied to another and changed is given values of its own; the other keeps those it had. Where both
    changed alike, they stay tied.

    Args:
        model: a `PeftModel` over an unquantised base; it is of no use afterwards. One without adapters is only cast.
        dtype: of the result.

    Returns:
        The transformers model in that dtype, and what rounding lost.

    Raises:
        InputError: the base is quantised, a method cannot be merged, or a value is beyond the dtype's range.
    """
    root = root_of(model)
    lost = size = 0.0
    if isinstance(model, PeftModel):
        refuse_quantised(root)
        for name, module in outermost_parts(model):
            for key, before, after in list(merged_values(model, name, module)):
                rounded = after.to(dtype)
                lost += float((after - rounded.to(after)).double().square().sum())
                size += float((after - before).double().square().sum())
                _put(module, key, after)
        root = model.unload()
    _tie_again(root)
    root.to(dtype)
    if wild := [name for name, p in root.named_parameters() if not bool(torch.isfinite(p).all())]:
        raise InputError(
            f"dtype: {wild[0]} has values beyond the range of {str(dtype).removeprefix('torch.')} (or none at all); "
            "take another --dtype."
        )
    return root, Rounding(math.sqrt(lost), math.sqrt(size))


def refuse_quantised(root: nn.Module) -> None:
    """Refuse a base whose weights are quantised.

    Raises:
        InputError: it is.
    """
    for name, module in root.named_modules():
        if quantization_backend(module, root) is not None:
            raise InputError(
                f"{name}: the base is quantised, and a merged weight would have to be quantised anew; put the adapter "
                "on the unquantised base (--model) and merge it there."
            )


def _put(module: Any, key: str, after: Tensor) -> None:
    """Give the module that the base has a parameter of its own, so that what it was tied to keeps its values."""
    adapter = next(iter(module.active_adapters), None)
    saved = getattr(module, "modules_to_save", {})
    places = [module.get_base_layer()] if hasattr(module, "get_base_layer") else [module.original_module]
    places += [saved[adapter]] if adapter in saved else []
    for place in places:
        owner_name, _, own = key.rpartition(".")
        owner = place.get_submodule(owner_name)
        old = owner.get_parameter(own)
        owner._parameters[own] = nn.Parameter(after.to(old), requires_grad=False)  # noqa: SLF001 -- in place of a tied one


def _tie_again(root: nn.Module) -> None:
    """Tie embeddings and head again where their values are equal; else let the configuration say that they differ."""
    found = embeddings_of(root)
    config: Any = getattr(root, "config", None)
    known: list[Any] = [
        one for one in (config, getattr(config, "text_config", None)) if getattr(one, "tie_word_embeddings", False)
    ]
    if not known or len(found) != 2 or found[0].weight is found[1].weight:
        return
    if torch.equal(found[0].weight, found[1].weight):
        found[1].weight = found[0].weight
        return
    for one in known:
        one.tie_word_embeddings = False
