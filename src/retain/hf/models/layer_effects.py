"""Size of the active adapters' effect on the outputs of layers, on real inputs and on random ones, for any PEFT method.

ΔW x is never taken from a method's own formulas. It is the layer's output less that of its base layer, for the same
input; both outputs for the input 0 are subtracted, so that biases do not count.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.adapters.initialise import weight_of
from retain.hf.models.sides import eval_mode, root_of
from retain.hf.tuners.base_weight import at_least_float32, features, is_linear, quantization_backend

_NOTHING: tuple[str, ...] = ("\0",)
"""Beginnings that no module's name has."""


@torch.no_grad()
def layer_effects(
    model: nn.Module, batch: Mapping[str, Tensor], layers: Collection[str] | None = None
) -> dict[str, tuple[float, float]]:
    """Sum over inputs x of ‖ΔW x‖/‖x‖ and their number, for each adapted linear layer, from one forward.

    The ratio of the two is F_Δ; sums of several batches add up. Padding is left out where a layer's input has the shape
    (B, T, …) of the batch's `attention_mask`, and so are inputs that are 0. In 16 bits a change below about 1 % of the
    output drowns in rounding; measure in float32. Train or eval mode is the caller's business: dropout adds noise.

    Args:
        model: a model with adapters, active and not merged.
        batch: the arguments of its forward.
        layers: names as in `model.named_modules()` (those that `changed_layers` gives); None for all.

    Returns:
        (sum, count) by layer; a layer that the batch did not reach is not there.

    Raises:
        InputError: the model has no adapted linear layers, or none of such a name.
    """
    adapted = _adapted(model)
    if unknown := sorted(set(layers or ()) - adapted.keys()):
        raise InputError(f"no adapted linear layer is named {unknown[0]!r}; there are {', '.join([*adapted][:4])}, ….")
    seen: dict[str, tuple[float, float]] = {}
    hooks = [
        module.register_forward_hook(_watch(name, batch.get("attention_mask"), seen), with_kwargs=True)
        for name, module in adapted.items()
        if layers is None or name in layers
    ]
    try:
        model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _watch(name: str, mask: Tensor | None, seen: dict[str, tuple[float, float]]) -> Any:
    busy = False

    def watch(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> None:
        nonlocal busy
        if busy:  # called by _change below
            return
        x: Tensor = args[0] if args else kwargs["x"]
        busy = True
        try:
            change, size = effect_of(layer, x, y).norm(dim=-1), at_least_float32(x).norm(dim=-1)
        finally:
            busy = False
        counts = size > 0
        if mask is not None and mask.shape == x.shape[:2]:
            counts = counts & mask.to(x.device).bool().reshape(*mask.shape, *([1] * (x.dim() - 3)))
        total, number = seen.get(name, (0.0, 0.0))
        seen[name] = (total + float((change / size)[counts].double().sum()), number + float(counts.sum()))

    return watch


def effect_of(layer: Any, x: Tensor, y: Tensor) -> Tensor:
    """ΔW x (…, m) of a layer that gave y for x (…, n), in float32 or better."""
    base, zero = layer.get_base_layer(), x.new_zeros((1,) * (x.dim() - 1) + x.shape[-1:])
    moved, still = at_least_float32(y), at_least_float32(base(x))
    offset = at_least_float32(layer(zero)) - at_least_float32(base(zero))
    return moved - still - offset


@torch.no_grad()
def update_size(model: nn.Module, probes: int = 8, *, generator: torch.Generator) -> float:
    """Estimate ‖ΔW‖_F/‖W0‖_F over all adapted linear layers, experts and routers, without merging any.

    For g ~ N(0, I), E‖ΔW g‖² = ‖ΔW‖²_F. The relative standard error of the estimate is about 1/√(2pk) for p probes,
    where k = (Σσ²)²/Σσ⁴ over all singular values σ of all layers' updates: 1 for one layer of rank 1, about the number
    of layers times their effective rank where these are alike. Ten per cent need p = 50/k probes; with 24 like layers
    of rank 2, 8 probes give 4 %. The same seed before each call gives the same probes, so that two sizes compare with
    far less noise. Over a 16-bit or quantised base it is computed from a float32 copy of one layer at a time.

    Args:
        model: a model with adapters, active and not merged; modules trained in full do not count.
        probes: p, the number of random inputs of a layer.
        generator: on the CPU.

    Returns:
        The estimate, 0 or more.

    Raises:
        InputError: there are no adapted linear layers, or no probes.
    """
    if probes < 1:
        raise InputError(f"probes={probes}: give a whole number ≥ 1.")
    changed = total = 0.0
    wrappers = [module for module in model.modules() if isinstance(module, ParamWrapper)]
    for wrapper in wrappers:
        changed += _squared_size(wrapper)
        total += float(wrapper.get_param().detach().double().square().sum())
    for module in _linear(model).values() if wrappers else _adapted(model).values():
        base = module.get_base_layer()
        W0, _ = weight_of(base, root_of(model))
        g = torch.randn(probes, features(base)[0], generator=generator, dtype=torch.float64).to(W0)
        layer = in_float32(module, W0, root_of(model))
        with eval_mode(layer):
            changed += float(effect_of(layer, g, layer(g)).double().square().sum()) / probes
        total += float(W0.double().square().sum())
    return math.sqrt(changed / total) if total > 0 else 0.0


@torch.no_grad()
def _squared_size(wrapper: Any) -> float:
    """‖ΔW‖²_F of a parameter with LoRA, Σ tr(BᵀB AAᵀ) over its experts, without the product."""
    names = [] if wrapper.disable_adapters else [name for name in wrapper.active_adapters if name in wrapper.lora_A]
    if not names:
        return 0.0
    experts = wrapper.num_experts
    down = [wrapper.lora_A[name].weight.double() for name in names]
    up = [wrapper.scaling[name] * wrapper.lora_B[name].weight.double() for name in names]
    A = torch.cat([part.reshape(experts, -1, part.shape[-1]) for part in down], dim=1)  # (experts, ranks, n)
    B = torch.cat([part.reshape(part.shape[0], -1, experts).permute(2, 0, 1) for part in up], dim=2)
    return float(((B.mT @ B) * (A @ A.mT)).sum())


def in_float32(layer: Any, weight: Tensor, model: nn.Module) -> Any:
    """The layer over its weight in float32; itself, where its base is that (or float64) already."""
    base = layer.get_base_layer()
    packed = quantization_backend(base, model) is not None
    if not packed and base.weight.dtype == weight.dtype:
        return layer
    memo: dict[int, Any] = {id(m._hf_hook): m._hf_hook for m in layer.modules() if hasattr(m, "_hf_hook")}  # noqa: SLF001 -- accelerate's
    if packed:
        unpacked = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        unpacked.weight = nn.Parameter(weight, requires_grad=False)
        memo[id(base)] = unpacked
        memo[id(getattr(layer, "quantization_backend", None))] = None
    return copy.deepcopy(layer, memo).float()


def _adapted(model: nn.Module) -> dict[str, Any]:
    """Linear layers with adapters, by name.

    Raises:
        InputError: there are none.
    """
    layers = _linear(model)
    if not layers:
        raise InputError("This model has no linear layers with adapters, so there is no effect to measure.")
    return layers


def _linear(model: nn.Module) -> dict[str, Any]:
    """Linear layers with adapters, by name; of nested ones the outermost."""
    layers: dict[str, Any] = {}
    inside = _NOTHING
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and not name.startswith(inside):
            inside += (f"{name}.",)
            base = module.get_base_layer()
            if is_linear(base) or hasattr(base, "in_features"):
                layers[name] = module
    return layers
