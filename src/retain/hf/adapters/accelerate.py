"""PEFT's own LoRA layers with less time and memory: the same layers, files and results, another forward.

A layer's class is exchanged for a subclass of it and nothing else, so it stays a `peft.tuners.lora.Linear`, is saved,
merged and switched as before, and can be given back. Where the fused form does not apply (dropout that acts, DoRA and
other variants, mixed batches, trained or quantised bases, hooks, autocast, torch.compile), PEFT's forward is used.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.models.given import ensure_model
from retain.hf.tuners import forward as forms
from retain.kernels import eligibility
from retain.kernels.low_rank import low_rank


class FusedLoraLinear(lora.Linear):  # type: ignore[misc]  # PEFT ships no types
    """PEFT's LoRA layer whose forward takes the fused form where it can."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output, as PEFT's; see `retain.kernels.low_rank`."""
        fused = None if args or kwargs or torch.compiler.is_compiling() else self._fused(x)
        return super().forward(x, *args, **kwargs) if fused is None else fused

    def _fused(self, x: Tensor) -> Tensor | None:
        names = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or not names or x.dim() == 0:
            return None
        if x.dtype == torch.float16:  # in which small gradients of the adapters would vanish
            return None
        if any(name in self.lora_variant or not self._is_ordinary(name) for name in names):
            return None
        frozen = self.get_base_layer()
        base = forms.frozen_matrix(frozen, x)
        downs, ups = ([factor[name].weight for name in names] for factor in (self.lora_A, self.lora_B))
        if base is None or self.base_layer is not frozen or not eligibility.eligible(x, *base, *downs, *ups):
            return None
        if len(names) == 1:
            return low_rank(x, base.weight, base.bias, downs[0], ups[0], float(self.scaling[names[0]]))
        scaled = [self.scaling[name] * up for name, up in zip(names, ups, strict=True)]
        return low_rank(x, base.weight, base.bias, torch.cat(downs), torch.cat(scaled, dim=1))

    def _is_ordinary(self, name: str) -> bool:
        """Tell whether an adapter is two ordinary matrices, without dropout that acts now."""
        down, up, dropout = self.lora_A[name], self.lora_B[name], self.lora_dropout[name]
        drops = not isinstance(dropout, nn.Identity) and dropout.training and getattr(dropout, "p", 1.0) > 0
        matrices = all(type(one) is nn.Linear and not forms.is_watched(one) for one in (down, up))
        return matrices and up.bias is None and not drops and not forms.is_watched(dropout)


def has_lora(model: nn.Module) -> bool:
    """Tell whether a model has LoRA layers of PEFT on linear layers."""
    return any(type(module) in (lora.Linear, FusedLoraLinear) for module in model.modules())


def accelerate(model: nn.Module) -> int:
    """Let the LoRA layers of a PEFT model compute with less time and memory; `decelerate` takes it back.

    The results are those of PEFT to rounding. Over a 16-bit base with float32 adapters, PEFT copies each input up to
    float32; here the adapters are rounded down to bfloat16 instead (gradients right to some .3 %, kept in float32).
    Inputs that autograd keeps already in another form are not kept a second time (`retain.kernels.recompute`).

    Args:
        model: any model with LoRA layers of PEFT. Call it again after an adapter was added that changes more layers.

    Returns:
        The number of layers that changed; those that were accelerated before do not count, nor those whose forward was
        replaced.

    Raises:
        InputError: it is no model, or has no LoRA layer on a linear layer.

    Examples:
        >>> retain.accelerate(model)  # the number of layers
        14
        >>> retain.decelerate(model)
        14
    """
    ensure_model(model)
    layers = [module for module in model.modules() if type(module) in (lora.Linear, FusedLoraLinear)]
    if not layers:
        raise InputError(
            "This model has no LoRA layer of PEFT on a linear layer, so there is nothing to accelerate; retain's own "
            "methods need no such switch."
        )
    changed = [layer for layer in layers if type(layer) is lora.Linear and "forward" not in vars(layer)]
    for layer in changed:
        layer.__class__ = FusedLoraLinear
    return len(changed)


def decelerate(model: nn.Module) -> int:
    """Give the LoRA layers back to PEFT; returns their number.

    Examples:
        >>> retain.accelerate(model) == retain.decelerate(model)
        True
    """
    ensure_model(model)
    layers = [module for module in model.modules() if type(module) is FusedLoraLinear]
    for layer in layers:
        layer.__class__ = lora.Linear
    return len(layers)
