"""The values of an adapter on another model with the same structure."""

from __future__ import annotations

from typing import Any

from peft import get_peft_model_state_dict, set_peft_model_state_dict


def copy_adapter(source: Any, target: Any) -> None:
    """Give an adapter the values of another, without anything of the base.

    Args:
        source: a PEFT model.
        target: a PEFT model with an adapter of the same configuration; changed in place.
    """
    state = {key: value for key, value in get_peft_model_state_dict(source).items() if "base_layer" not in key}
    set_peft_model_state_dict(target, state)
