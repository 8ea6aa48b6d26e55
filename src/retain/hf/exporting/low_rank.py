"""Any adapter's update as the factors of an ordinary LoRA, layer by layer.

A LoRA, an SC-LoRA and a LoRFA have such factors and give them exactly. Of every other method the change is measured,
ΔW = W_eff − W0 of a layer that is merged in a copy, and taken apart into singular directions: the first r of them are
the best LoRA of rank r. No method is named here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.exporting.own_factors import has_factors, lora_factors
from retain.hf.models.placement import random_states_kept
from retain.hf.models.sides import mutates_base, root_of
from retain.hf.models.updates import weight_updates
from retain.hf.scaling.merged_values import merged_values, outermost_parts
from retain.hf.tuners.base_weight import as_matrix, is_linear
from retain.linalg.matrices import ordered, truncated

DRAWN_BEYOND = 2048
"""Layers with a larger smaller side are taken apart by random projection where a small rank is asked for."""

_OVERSAMPLED = 24
_POWER_STEPS = 8
_ROUNDING = float(torch.finfo(torch.float32).eps)


@dataclass(frozen=True)
class LayerFactors:
    """A layer's update B A.

    Attributes:
        name: of the layer in the base.
        B: (m, k) float64, on the CPU.
        A: (k, n) likewise.
        lost: ‖ΔW − B A‖_F, of what was cut off.
        size: ‖ΔW‖_F.
    """

    name: str
    B: Tensor
    A: Tensor
    lost: float
    size: float

    @property
    def rank(self) -> int:
        """The k of the factors."""
        return int(self.A.shape[0])

    def of_rank(self, rank: int) -> LayerFactors:
        """The best approximation of that rank, with all that was lost by now."""
        B, A, lost, _ = truncated(self.B, self.A, rank)
        return LayerFactors(self.name, B, A, math.hypot(lost, self.lost), self.size)

    def sorted(self) -> LayerFactors:
        """The same with its singular directions in falling order."""
        B, A, _ = ordered(self.B, self.A)
        return LayerFactors(self.name, B, A, self.lost, self.size)


@torch.no_grad()
def layer_factors(
    model: Any, adapter: str, *, rank: int | None = None, base: nn.Module | None = None
) -> Iterator[LayerFactors]:
    """Each changed layer's update as factors, exact where the method has them and no rank is asked for.

    Args:
        model: a `PeftModel` in which that adapter is the active one; it is not touched.
        adapter: its name.
        rank: the most that is wanted. None: all that the update has.
        base: the untouched base, for an adapter whose initialisation rewrote the base inside the model.

    Raises:
        InputError: the update is no low-rank one, holds what no LoRA can carry, or its base was rewritten and is not
            given.
    """
    if has_factors(model, adapter) and base is None:
        for name, B, A in lora_factors(model, adapter):
            B64, A64 = B.detach().cpu().double(), A.detach().cpu().double()
            whole = truncated(B64, A64, A64.shape[0])[3]
            own = LayerFactors(name, B64, A64, 0.0, whole)
            yield own if rank is None else own.of_rank(rank)
        return
    if base is None and (reason := mutates_base(model)):
        raise InputError(
            f"{reason.rpartition(';')[0]}, so alone it is not what was trained; give the untouched base too (base=, or "
            "--model), or take --to merged."
        )
    found = False
    for name, before, delta in _changes(model, base):
        found = True
        yield _apart(name, before, delta, rank)
    if not found:
        raise InputError(f"adapter {adapter!r} changes no linear layer, so it has no LoRA; take --to merged.")


def _changes(model: Any, base: nn.Module | None) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, W0 and ΔW of every changed layer, all else that changed being refused.

    Raises:
        InputError: something changed that no LoRA can carry.
    """
    root = root_of(model)
    if base is not None:
        yield from ((one.module, one.weight, one.delta) for one in weight_updates(root, base))
        return
    for name, module in outermost_parts(model):
        inner = getattr(module, "get_base_layer", lambda: None)()
        for key, before, after in merged_values(model, name, module):
            if inner is None:  # a head that is trained in full; it is carried beside the LoRA
                continue
            if key != "weight" or not is_linear(inner):
                what = f"{name}.{key}" if is_linear(inner) else f"{name} ({type(inner).__name__})"
                raise InputError(f"this adapter changes {what}, which a LoRA cannot carry; take --to merged.")
            yield name, as_matrix(inner, before), as_matrix(inner, after - before)


def _apart(name: str, before: Tensor, delta: Tensor, rank: int | None) -> LayerFactors:
    """Factors of a measured change (m, n), of its numerical rank or of the rank that is asked for."""
    size = float(delta.double().norm())
    smaller = min(delta.shape)
    if rank is not None and smaller > DRAWN_BEYOND and rank + _OVERSAMPLED < smaller // 4:
        with random_states_kept():
            torch.manual_seed(0)
            U, S, V = torch.svd_lowrank(delta, q=rank + _OVERSAMPLED, niter=_POWER_STEPS)
        Vh = V.T
    else:
        U, S, Vh = torch.linalg.svd(delta.double() if smaller <= DRAWN_BEYOND else delta, full_matrices=False)
    m, n = delta.shape
    noise = _ROUNDING * float((before + delta).abs().max()) * (math.sqrt(m) + math.sqrt(n))
    present = int((max(noise, 1e-6 * float(S[0]) if len(S) else 0.0) < S).sum())
    kept = present if rank is None else min(rank, present)
    if rank is None and kept * (m + n) > m * n:
        raise InputError(
            f"{name}: its update has rank {kept}, and a LoRA of that rank is larger than the layer ({m} x {n}); give "
            "a smaller --rank (the loss of it is told), --rank auto with --max-loss, or take --to merged."
        )
    root = S[:kept].double().sqrt()
    B, A = U[:, :kept].double() * root, root[:, None] * Vh[:kept].double()
    held = float(S[:kept].double().square().sum())
    lost = math.sqrt(max(size**2 - held, 0.0)) if kept < present else 0.0
    return LayerFactors(name, B.cpu(), A.cpu(), lost, size)
