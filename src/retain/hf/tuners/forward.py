"""The choice of the form in which W0(x + T(x)) is computed.

The first choice is a method's fused form (`retain.kernels`), where the layer is a frozen matrix without hooks on its
parts; see `frozen_matrix`. Else it is one of two reference forms, the same in exact arithmetic: base(x + T(x)) and
base(x) + W0·T(x). bf16 keeps 8 bits: where x is bf16, λ ⊙ x is rounded away when it is added to x wherever
|λ| < 0.002, however well λ is known. So where the base computes in 16 bits the second, residual, form is used, in which
W0·T(x) is right to 0.3 % before it is added.

The residual form cannot avoid, as LoRA cannot, that the sum is the layer's output and is rounded to 16 bits. Of the
exact effect this leaves, on average over outputs (512 × 512, normal x, λ of standard deviation 1e-3), 51 %, against
14 % for the first form; at 1e-2 both leave all of it, at 1e-4 5 % and nothing. VeFA's fused form rounds its input
stochastically (`retain.kernels.stochastic_rounding`) and leaves 98 to 100 % at each of them, in the mean, with one
matrix product instead of two. Its price is noise: at 1e-3 2.7 times the effect in a single output, where the others
have .8 and 1.6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from transformers.pytorch_utils import Conv1D

_LOW = (torch.bfloat16, torch.float16)


class FrozenMatrix(NamedTuple):
    """W0 (m, n) and b (m,) of a layer that is no more than y = W0 x + b and is not trained."""

    weight: Tensor
    bias: Tensor | None


def frozen_matrix(base: nn.Module, x: Tensor) -> FrozenMatrix | None:
    """The layer's matrix for a fused form, or None where the layer has to be called as a module.

    None where it is trained, quantised, offloaded or sharded, is a subclass whose forward may be more than a product,
    has another type than x, or has hooks, which must be called.

    Args:
        base: the layer that is adapted.
        x: its input (…, n).
    """
    if type(base) is not nn.Linear and type(base) is not Conv1D:
        return None
    weight: Any = base.weight
    bias: Any = base.bias
    if weight.dtype != x.dtype or weight.requires_grad or (bias is not None and bias.requires_grad):
        return None
    if is_watched(base) or any(_hooks_everywhere()):
        return None
    return FrozenMatrix(weight.T if type(base) is Conv1D else weight, bias)


def is_watched(module: nn.Module) -> bool:
    """Tell whether a call of the module does more than its class: hooks, or a forward of its own (offloading)."""
    held: dict[str, Any] = module.__dict__
    return bool(
        held["_forward_hooks"]
        or held["_forward_pre_hooks"]
        or held["_backward_hooks"]
        or held["_backward_pre_hooks"]
        or "forward" in held
    )


def _hooks_everywhere() -> tuple[Any, ...]:
    return (
        torch_module._global_forward_hooks,  # noqa: SLF001 -- torch's own fast path reads the same
        torch_module._global_forward_pre_hooks,  # noqa: SLF001 -- as above
        torch_module._global_backward_hooks,  # noqa: SLF001 -- as above
        torch_module._global_backward_pre_hooks,  # noqa: SLF001 -- as above
    )


def residual_weight(base: nn.Module, x: Tensor) -> Tensor | None:
    """The weight W0 with which to compute base(x) + W0·T(x), or None where base(x + T(x)) is to be computed.

    None in float32 and float64, where nothing is lost, and where W0 cannot be used as it lies: quantised, sharded or
    offloaded weights, and subclasses of `nn.Linear`, whose forward may be more than a product. There the shift is added
    in the adapter's precision and rounded once to that of x.

    Args:
        base: the layer that is adapted.
        x: its input (..., n).

    Returns:
        W0 as (m, n), or None.
    """
    if type(base) is not nn.Linear and type(base) is not Conv1D:
        return None
    weight: Any = base.weight
    if type(weight) not in (nn.Parameter, Tensor) or weight.device != x.device:
        return None
    device = x.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    if compute not in _LOW:
        return None
    matrix: Tensor = weight.T if type(base) is Conv1D else weight
    return matrix


def adapter_dtype(base: nn.Module) -> torch.dtype:
    """The precision of an adapter's own parameters: float32, or float64 over a float64 base; never less."""
    weight = getattr(base, "weight", None)
    return torch.float64 if weight is not None and weight.dtype == torch.float64 else torch.float32
