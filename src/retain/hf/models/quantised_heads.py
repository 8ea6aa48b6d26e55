"""Heads of classifiers over quantised bodies, and layers that a checkpoint lacks: they stay in full precision.

Of a model without an output embedding transformers leaves only the last parameter unquantised, which is the head's
bias. The head itself would be quantised; one that is new becomes a layer of bitsandbytes with a plain weight, which
cannot run.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers.quantizers.base import get_keys_to_not_convert

from retain.hf.models.head import head_names
from retain.hf.models.quantization_config import LEAVING_OUT
from retain.hf.tuners.base_weight import quantization_backend
from retain.hf.tuners.storage import dequantised


def leaving_heads(config: Any, model: nn.Module) -> Any:
    """A configuration of transformers that leaves the head of a classifier as it is.

    Args:
        config: it; of one that can name no modules nothing is changed.
        model: the model, with or without its weights.
    """
    field = next((one for one in LEAVING_OUT if hasattr(config, one)), None)
    if field is None or not (heads := head_names(model)):
        return config
    changed = copy.deepcopy(config)
    named = getattr(config, field)
    setattr(changed, field, [*(get_keys_to_not_convert(model) if named is None else named), *heads])
    return changed


@torch.no_grad()
def heads_in_full(model: nn.Module) -> None:
    """Make plain layers of quantised ones in a classifier's head, and of those that a checkpoint had no values for.

    Args:
        model: a quantised model as transformers loaded it; changed in place.
    """
    heads = tuple(f"{name}." for name in head_names(model))
    for name, module in list(model.named_modules()):
        backend = quantization_backend(module, model) if isinstance(module, nn.Linear) else None
        weight: Any = getattr(module, "weight", None)
        if backend is None or not (f"{name}.".startswith(heads) or type(weight) is nn.Parameter):
            continue
        values = weight if type(weight) is nn.Parameter else dequantised(module, backend)
        plain = nn.Linear(values.shape[1], values.shape[0], bias=module.bias is not None, device="meta")
        plain.weight = nn.Parameter(values.detach().to(_dtype(module, values)))
        if module.bias is not None:
            plain.bias = module.bias
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, plain)


def _dtype(module: Any, values: torch.Tensor) -> torch.dtype:
    return values.dtype if module.bias is None else module.bias.dtype
