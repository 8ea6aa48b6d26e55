"""Stored weights of quantised layers: read right, whatever their library did to the storage, or refused by name.

On CPUs with AVX512-BF16, bitsandbytes lays the weight of a `Linear4bit` out anew at the first pass in eval mode, for a
kernel of its own. Dequantising what then lies there as if nothing had happened gives noise, and no gradient passes
through such a layer. So models that retain loads keep the layout in which they were stored (`keep_storage`), and the
one reader of base weights (`dequantised`) undoes it in those of others. Of layouts that nobody here has heard of, a
product tells: W0 x, with the W0 that was read, must be what the layer itself makes of x.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from retain.errors import MergeError

TOLERANCE = 0.1
"""Largest relative distance between W0 x and the layer's output; 8-bit activations reach .02, another layout 1.4."""

_BLOCK = 32
"""Rows that bitsandbytes interleaves."""

_VERIFIED: set[tuple[Any, ...]] = set()
"""Kinds of storage that were found right, in this process."""

_REPACKS = "support_avx512bf16_for_cpu"
"""The attribute by which a `Linear4bit` knows whether it may lay out its weight anew."""


def dequantised(base: nn.Module, backend: Any) -> Tensor:
    """W0 (m, n) of a quantised layer, in the dtype that its library gives.

    Args:
        base: the layer.
        backend: PEFT's helper for it.

    Raises:
        MergeError: what was read is not what the layer computes with.
        TypeError: the library cannot dequantise.
    """
    if is_repacked(base):
        base = _copied(base)
        as_stored(base)
    weight: Tensor = backend.get_base_weight(base)
    kind = _kind(base)
    if kind not in _VERIFIED:
        _verify(base, weight)
        _VERIFIED.add(kind)
    return weight


def is_repacked(module: nn.Module) -> bool:
    """Tell whether bitsandbytes laid out a layer's weight anew, for its CPU kernel."""
    state = getattr(getattr(module, "weight", None), "quant_state", None)
    return bool(getattr(state, "packing_format_for_cpu", False))


def as_stored(module: Any) -> None:
    """Lay a repacked weight out as it is stored; other layers are left alone. No value changes.

    The block scales stay in the single level that repacking left of them: bitsandbytes' own way back quantises them
    anew, which changes values.
    """
    if not is_repacked(module):
        return
    weight = module.weight
    state = weight.quant_state
    weight.data = _interleaved_back(weight.data, state).reshape(state.original_qshape)
    if getattr(state, "original_storage_type", None):
        weight.data = weight.data.view(state.original_storage_type)
    state.absmax = state.absmax.T.reshape(-1).float().contiguous()
    state.dtype = state.original_dtype
    state.nested = False
    state.packing_format_for_cpu = False


def _interleaved_back(packed: Tensor, state: Any) -> Tensor:
    """Two 4-bit codes a byte, row by row: those of (m, n), from blocks of 32 rows side by side."""
    m, n = state.shape
    pairs = packed.reshape(-1, _BLOCK)
    codes = torch.cat([pairs & 0xF, pairs >> 4], dim=1).reshape(m // _BLOCK, n // 2, _BLOCK, 2)
    rows = codes.transpose(1, 2).reshape(-1)
    return (rows[::2] << 4) | rows[1::2]


def keep_storage(module: Any) -> None:
    """Let a layer keep the layout in which its weight is stored, from now on; a repacked one gets it back."""
    if getattr(module, _REPACKS, False):
        setattr(module, _REPACKS, False)
    as_stored(module)


@contextmanager
def storage_kept(model: nn.Module) -> Iterator[None]:
    """Let no layer of a model lay out its weight anew inside the context."""
    able = [module for module in model.modules() if getattr(module, _REPACKS, False)]
    for module in able:
        setattr(module, _REPACKS, False)
    try:
        yield
    finally:
        for module in able:
            setattr(module, _REPACKS, True)


def storage_parts(module: nn.Module) -> list[Tensor] | None:
    """What a `Linear4bit` holds, in a form that repacking does not change; None for other layers.

    Returns:
        The 4-bit codes, uint8, and the scale of each block, bfloat16 as repacking rounds it.
    """
    weight = getattr(module, "weight", None)
    if type(weight).__name__ != "Params4bit" or weight is None or getattr(weight, "quant_state", None) is None:
        return None
    state = weight.quant_state
    if is_repacked(module):
        return [_interleaved_back(weight.data, state).cpu(), state.absmax.T.reshape(-1).cpu().to(torch.bfloat16)]
    return [weight.data.contiguous().view(torch.uint8).reshape(-1).cpu(), _scales(state).to(torch.bfloat16)]


def _scales(state: Any) -> Tensor:
    """The scale of each block in float32, on the CPU: both of its levels multiplied out where it has two."""
    if not state.nested:
        scales: Tensor = state.absmax.float().cpu().reshape(-1)
        return scales
    outer = state.state2
    codes = outer.code.float().cpu()[state.absmax.cpu().long()].reshape(-1)
    factors = outer.absmax.float().cpu().repeat_interleave(outer.blocksize)[: len(codes)]
    both: Tensor = codes * factors + state.offset.float().cpu()
    return both


def _copied(base: nn.Module) -> Any:
    hook = getattr(base, "_hf_hook", None)  # accelerate's
    return copy.deepcopy(base, {id(hook): hook})


def _kind(base: nn.Module) -> tuple[Any, ...]:
    """The layer's class, and the marks by which its library tells one layout from another."""
    weight: Any = getattr(base, "weight", None)
    state = getattr(weight, "quant_state", None)
    marks = {name: value for name, value in vars(state).items() if isinstance(value, str | bool)} if state else {}
    return type(base), type(weight), getattr(weight, "dtype", None), *sorted(marks.items())


@torch.no_grad()
def _verify(base: nn.Module, weight: Tensor) -> None:
    """Compare W0 x with what a copy of the layer makes of x.

    Raises:
        MergeError: they are not alike.
    """
    layer = _copied(base).eval()
    for module in layer.modules():
        keep_storage(module)
        module.__dict__.pop("forward", None)  # of accelerate, which would send the weight away
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, weight.shape[1], generator=generator).to(weight.device, weight.dtype)
    bias = getattr(layer, "bias", None)
    try:
        made = layer(x).float() - (0.0 if bias is None else bias.float())
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        raise MergeError(_unknown(base, f"it could not be tried ({' '.join(str(error).split())[:200]})")) from error
    expected = x.float() @ weight.float().T
    distance = float((made - expected).norm() / expected.norm().clamp_min(torch.finfo(torch.float32).tiny))
    if not distance <= TOLERANCE:
        raise MergeError(_unknown(base, f"W0 x is {distance:.0%} off what the layer makes of x"))


def _unknown(base: nn.Module, found: str) -> str:
    return (
        f"The weight of {type(base).__name__} ({type(base).__module__}) cannot be read: {found}, so its library "
        "stores it in a way that is not known here. Use a base that is not quantised, or quantised in another way "
        "(4bit, 8bit, torchao-int8)."
    )
