"""16-bit bases on processors that compute in these bits, or imitate them at several times the cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from retain.hf.models.placement import current_device

UNITS: Mapping[torch.dtype, tuple[str, ...]] = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""For each 16-bit type the capabilities, as torch names them, of which one makes a processor compute in it."""


FAST = "fast"
"""What a recipe says that leaves the type to the device."""


def imitates(dtype: torch.dtype, capabilities: Mapping[str, Any]) -> bool:
    """Tell whether a processor lacks the units for a 16-bit type.

    Args:
        dtype: of the weights.
        capabilities: of the processor, as `torch.cpu.get_capabilities` has them; empty where they are not known.

    Returns:
        False for any other type, and where the capabilities are not known.

    Examples:
        >>> imitates(torch.bfloat16, {"avx2": True}), imitates(torch.bfloat16, {"avx2": True, "amx_bf16": True})
        (True, False)
    """
    return bool(capabilities) and dtype in UNITS and not any(capabilities.get(unit) for unit in UNITS[dtype])


def processor_imitates(dtype: torch.dtype) -> bool:
    """Tell whether this processor lacks the units for a 16-bit type; False where torch does not tell (before 2.10)."""
    return imitates(dtype, _capabilities())


def _capabilities() -> Mapping[str, Any]:
    """Those of this processor as torch names them; empty where torch does not tell."""
    known = getattr(torch.cpu, "get_capabilities", None)
    return {} if known is None else known()


def weights_dtype(asked: str, device: torch.device | None = None) -> str:
    """The type of weights that a recipe means, as transformers takes it.

    Args:
        asked: the recipe's; all but "fast" mean themselves.
        device: that the model computes on; None for where a model is placed by default.

    Returns:
        For "fast" "bfloat16" where the device is known to compute in it, else "float32".

    Examples:
        >>> weights_dtype("auto"), weights_dtype("float16")
        ('auto', 'float16')
    """
    if asked != FAST:
        return asked
    return "bfloat16" if _computes_in_bfloat16(device or current_device()) else "float32"


def _computes_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return device.type == "xpu"
    found = _capabilities()
    return bool(found) and not imitates(torch.bfloat16, found)


def precision_note(model: nn.Module, asked: str = "auto", device: torch.device | None = None) -> list[str]:
    """A note on a base in 16 bits on a processor that has no units for them; none for any other, and on accelerators.

    Args:
        model: with or without its weights.
        asked: the type that its weights are to be loaded in, see `weights_dtype`; auto: that which it has.
        device: that it computes on; None for where a model is placed by default.
    """
    dtype = getattr(model, "dtype", None) if asked == "auto" else getattr(torch, asked)
    if dtype is None or (device or current_device()).type != "cpu" or not processor_imitates(dtype):
        return []
    name = str(dtype).removeprefix("torch.")
    told = (
        f"The base is in {name}, and this processor has no units for {name}: it imitates them at several times the "
        "cost of float32. --dtype float32 is quicker here and takes twice the memory."
    )
    return [told]
