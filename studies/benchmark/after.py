"""Methods that change what LoRA's run left: (model, strength) → model."""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.intruders import reduce_intruder_dimension

from retain.hf.scaling import scale_in_place

REDUCED = "reduced"


def scaled(model: Any, share: float) -> Any:
    """The model with this share of its update: interpolated weights, as WiSE-FT has it."""
    scale_in_place(model, share)
    return model


def without_intruders(model: Any, left: float) -> Any:
    """The model with its intruder dimensions reduced to this share, by PEFT's own function."""
    reduce_intruder_dimension(model, new_adapter_name=REDUCED, mitigation_lambda=left, logging_sink=None)
    model.delete_adapter("default")
    return model.eval()
