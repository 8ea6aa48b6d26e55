"""What PEFT would write for an adapter on a model without weights: the configuration, and the tensors' shapes."""

from __future__ import annotations

from enum import Enum
from typing import Any

from peft import get_peft_model_state_dict
from torch import nn

ADAPTER = "default"

_TYPES = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "torch.float64": "F64"}


def planned_config(model: nn.Module) -> dict[str, Any]:
    """The values of `adapter_config.json` that an adapted model would be saved with."""
    held: Any = model
    values: dict[str, Any] = held.peft_config[ADAPTER].to_dict()
    return {name: _plain(value) for name, value in values.items()}


def planned_tensors(model: nn.Module) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type, in the words of safetensors, of each tensor that an adapted model would be saved with."""
    state = get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    return {name: (tuple(one.shape), _TYPES.get(str(one.dtype), str(one.dtype))) for name, one in state.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
