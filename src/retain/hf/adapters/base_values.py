"""Some values of a base's linear layers, to know it again whatever dtype or quantisation it is loaded in.

Digests tell two bases apart bit by bit, and tell nothing where one was rounded in another way than the other: in
bfloat16 and float16, or to 4 and 8 bits. There evenly drawn values are compared as numbers. Values of one base in two
16-bit types differ by their last bits; those of a quantised base are correlated with what they were (.98 to 1 for 4
and 8 bits), where those of two bases are not.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from retain.errors import MergeError
from retain.hf.models.sides import root_of
from retain.hf.tuners.base_weight import is_linear, quantization_backend
from retain.hf.tuners.storage import dequantised

LAYERS, VALUES = 16, 32
"""Layers that values are drawn of, and values of each."""

ROUNDED = 2.0**-6
"""Relative difference that rounding to two 16-bit types can make, at most."""

SHARE = 0.95
"""Share of the values that must agree but for rounding; the smallest ones may be lost in float16."""

CORRELATION = 0.8
"""Correlation with a quantised base, at least."""


@torch.no_grad()
def drawn_values(model: nn.Module) -> str:
    """Values of evenly drawn linear layers of a model's base, as hexadecimal bfloat16; empty where there are none.

    Layers are dequantised. Nothing is given of a base that is offloaded, or whose quantisation cannot be read.
    """
    root = root_of(model)
    layers = [(name, module) for name, module in root.named_modules() if _is_base(name, module)]
    if not layers:
        return ""
    chosen = [layers[place * len(layers) // LAYERS] for place in range(LAYERS)] if len(layers) > LAYERS else layers
    drawn = []
    for _, module in chosen:
        weight = _weight(module, root)
        if weight is None:
            return ""
        flat = weight.reshape(-1)
        places = torch.linspace(0, flat.numel() - 1, min(VALUES, flat.numel()), dtype=torch.float64).long()
        drawn.append(flat[places.to(flat.device)].float().cpu())
    return torch.cat(drawn).bfloat16().view(torch.uint8).numpy().tobytes().hex()


def is_quantised(model: nn.Module) -> bool:
    """Tell whether some linear layer of a model's base is quantised."""
    root = root_of(model)
    return any(
        _is_base(name, module) and quantization_backend(module, root) is not None
        for name, module in root.named_modules()
    )


def of_one_base(stored: str, found: str, *, quantised: bool) -> bool | None:
    """Whether two drawings of values are of one base; None where they cannot be compared.

    Args:
        stored: of `drawn_values`.
        found: likewise.
        quantised: whether one of the two bases is quantised.
    """
    if not stored or len(stored) != len(found):
        return None
    one, other = _numbers(stored), _numbers(found)
    if not quantised:
        return bool((np.abs(one - other) <= ROUNDED * np.abs(one) + 1e-7).mean() >= SHARE)
    if one.std() == 0 or other.std() == 0:
        return None
    return bool(np.corrcoef(one, other)[0, 1] >= CORRELATION)


def _is_base(name: str, module: nn.Module) -> bool:
    """True for the linear layers of blocks: not of heads, nor of adapters and trained copies."""
    inside = any(part.isdecimal() for part in name.split("."))
    own = not any(part.startswith(("lora_", "modules_to_save")) for part in name.split("."))
    return inside and own and is_linear(module)


def _weight(module: nn.Module, root: nn.Module) -> Tensor | None:
    backend = quantization_backend(module, root)
    try:
        weight = module.get_parameter("weight").detach() if backend is None else dequantised(module, backend)
    except (MergeError, TypeError, ValueError, RuntimeError, NotImplementedError):
        return None
    plain = type(weight.data) is Tensor and weight.is_floating_point() and weight.device.type != "meta"
    return weight if plain else None


def _numbers(text: str) -> NDArray[np.float64]:
    values = torch.frombuffer(bytearray.fromhex(text), dtype=torch.bfloat16)
    return np.asarray(values.float().numpy(), dtype=np.float64)
