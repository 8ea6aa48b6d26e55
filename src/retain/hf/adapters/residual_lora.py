"""A residual LoRA: y = W0 x + s·(B A − B0 A0) x from A0, B0 ≠ 0 on an untouched base, in stock PEFT layers of rank 2r.

ΔA = A − A0 and ΔB = B − B0 are trained, both 0 before training. Since

    B A − B0 A0 = B0 ΔA + ΔB A = [B0 | ΔB] · [ΔA ; A],

the update is a LoRA of rank 2r without a difference of large terms: exactly 0 before training, in any precision. Decay
of ΔA and ΔB pulls to the base; a scale multiplies the update. The gradients are those of A and B. To PEFT the adapter
is that LoRA: [ΔA ; A] is its `lora_A.weight`, [B0 | ΔB] its `lora_B.weight`, in memory and in files.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import LoraVariant
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from retain.errors import AdapterError
from retain.hf.adapters import residual_product
from retain.hf.adapters.written_through import written_through
from retain.hf.tuners.base_weight import as_matrix, at_least_float32


class _Half(nn.Module):
    """One factor: its initial value (frozen) and its change since (trained).

    Args:
        initial: A0 (r, n) or B0 (m, r).
        delta: ΔA or ΔB, of the same shape; 0 where it is not given.
    """

    def __init__(self, initial: Tensor, delta: Tensor | None = None) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros_like(initial) if delta is None else delta)
        self.register_buffer("initial", initial, persistent=False)
        self.initial: Tensor

    bias = None
    """PEFT asks its LoRA factors for one."""

    @property
    def weight(self) -> Tensor:
        """This factor of the LoRA of rank 2r.

        Where a sharded parameter lies in pieces, this process's piece of ΔA or ΔB, which has the dtype and device that
        PEFT asks for.
        """
        if isinstance(self.delta, DTensor) or self.delta.untyped_storage().size() == 0:
            return self.delta
        return written_through(self._joined(self.initial), self.take)

    def __setattr__(self, name: str, value: Any) -> None:
        """As a module's, but a factor that is given as `weight` is divided into its two parts."""
        if name == "weight":
            self.take(value)
        else:
            super().__setattr__(name, value)

    @torch.no_grad()
    def take(self, weight: Tensor) -> None:
        """Take the values of a LoRA's factor, of this shape.

        Raises:
            AdapterError: it has another shape.
        """
        if weight.shape != (shape := self._joined(self.initial).shape):
            raise AdapterError(
                f"a factor of shape {tuple(weight.shape)} cannot take the place of one of shape {tuple(shape)} in an "
                "adapter with a data-driven initialisation; load it beside this one with model.load_adapter."
            )
        initial, delta = self.parted(weight.to(self.delta))
        self.delta.copy_(delta)
        self.initial.copy_(initial)

    @property
    def in_features(self) -> int:
        """Of the LoRA's factor."""
        return int(self.weight.shape[1])

    @property
    def out_features(self) -> int:
        """Of the LoRA's factor."""
        return int(self.weight.shape[0])

    @abstractmethod
    def _joined(self, initial: Tensor) -> Tensor:
        """The LoRA's factor."""

    @staticmethod
    @abstractmethod
    def parted(weight: Tensor) -> tuple[Tensor, Tensor]:
        """(initial, delta) from the LoRA's factor."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        weight = self._joined(_in_pieces_like(self.delta, self.initial))
        destination[prefix + "weight"] = weight if keep_vars else weight.detach()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],  # noqa: ARG002 -- torch's
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if (weight := state_dict.get(prefix + "weight")) is None:
            if strict:
                missing_keys.append(prefix + "weight")
            return
        unexpected_keys += [key for key in state_dict if strict and key.startswith(prefix) and key != prefix + "weight"]
        initial, delta = self.parted(weight.to(self.delta.dtype))
        if initial.shape != self.initial.shape:
            error_msgs.append(
                f"size mismatch for {prefix}weight: a file of shape {tuple(weight.shape)} for a factor of shape "
                f"{tuple(self._joined(self.initial).shape)}."
            )
            return
        with torch.no_grad():
            self.delta.copy_(_in_pieces_like(self.delta, delta))
            self.initial.copy_(_in_pieces_like(self.initial, initial))


def _in_pieces_like(held: Tensor, given: Tensor) -> Tensor:
    """A tensor, divided among processes if the held one is, and in full if not."""
    if isinstance(held, DTensor):
        return given if isinstance(given, DTensor) else distribute_tensor(given, held.device_mesh, held.placements)
    return given.full_tensor() if isinstance(given, DTensor) else given


class ResidualDown(_Half):
    """[ΔA ; A], applied to x."""

    def forward(self, x: Tensor) -> Tensor:
        """Codes [ΔA x | A x]: (…, n) to (…, 2r)."""
        return residual_product.down(x, self.delta, self.initial)

    def _joined(self, initial: Tensor) -> Tensor:
        return residual_product.down_weight(self.delta, initial)

    @staticmethod
    def parted(weight: Tensor) -> tuple[Tensor, Tensor]:
        """A0 and ΔA, so that A0 + ΔA is A to the bit: A − ΔA, or its neighbour where rounding asks for that."""
        rank = weight.shape[0] // 2
        delta, full = weight[:rank], weight[rank:]
        initial = full - delta
        return initial + 2 * (full - (initial + delta)), delta.clone()


class ResidualUp(_Half):
    """[B0 | ΔB], applied to codes."""

    def forward(self, codes: Tensor) -> Tensor:
        """B0 ΔA x + ΔB A x: (…, 2r) to (…, m)."""
        return residual_product.up(codes, self.initial, self.delta)

    def _joined(self, initial: Tensor) -> Tensor:
        return residual_product.up_weight(initial, self.delta)

    @staticmethod
    def parted(weight: Tensor) -> tuple[Tensor, Tensor]:
        """B0 and ΔB."""
        rank = weight.shape[1] // 2
        return weight[:, :rank].clone(), weight[:, rank:].clone()


class ResidualLora(LoraVariant):  # type: ignore[misc]  # PEFT ships no types
    """PEFT's variant for such an adapter: run and merged as LoRA, but unmerged bit for bit.

    PEFT unmerges in the reverse order of merging, so the weight from before the merge is right whatever was merged
    before or after.
    """

    def __init__(self) -> None:
        self._before: Tensor | None = None

    def forward(self, module: Any, *, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        """The layer's output so far, and s·(B A − B0 A0) x."""
        codes = module.lora_A[active_adapter](module.lora_dropout[active_adapter](x))
        moved: Tensor = result + module.lora_B[active_adapter](codes) * module.scaling[active_adapter]
        return moved

    def merge_safe(self, module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """W + s·(B A − B0 A0), summed in float32 or better and rounded once, in the layer's own layout."""
        weight = getattr(module.get_base_layer(), "weight", None)
        unquantised = weight is not None and (weight.shape, weight.dtype) == (orig_weight.shape, orig_weight.dtype)
        self._before = weight.data if weight is not None and unquantised else None
        change = as_matrix(module.get_base_layer(), _change(module, active_adapter))
        return (at_least_float32(orig_weight) + change.to(orig_weight.device)).to(orig_weight.dtype).contiguous()

    def merge_unsafe(self, module: Any, active_adapter: str, orig_weight: Tensor) -> None:
        """Give the parameter new storage; the old one is kept for `unmerge`."""
        orig_weight.data = self.merge_safe(module, active_adapter, orig_weight.data)

    def unmerge(self, module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """The weight from before the merge; over a quantised base, the difference."""
        before, self._before = self._before, None
        if before is not None and before.shape == orig_weight.shape:
            return before.to(device=orig_weight.device, dtype=orig_weight.dtype)
        change = as_matrix(module.get_base_layer(), _change(module, active_adapter))
        return (at_least_float32(orig_weight) - change).to(orig_weight.dtype)


@torch.no_grad()
def _change(module: Any, adapter: str) -> Tensor:
    A, B = (at_least_float32(part[adapter].weight) for part in (module.lora_A, module.lora_B))
    change: Tensor = module.scaling[adapter] * (B @ A)
    return change


def residual_layers(model: nn.Module, adapter: str) -> dict[str, Any]:
    """The layers that carry a residual LoRA of that adapter name, by their names in the model."""
    return {
        key: module
        for key, module in model.named_modules()
        if isinstance(module, LoraLayer)
        and isinstance(module.lora_variant.get(adapter), ResidualLora)
        and isinstance(module.lora_A[adapter], ResidualDown)  # unless PEFT made room for other ranks
    }


def make_residual(
    layer: Any, adapter: str, down: tuple[Tensor, Tensor | None], up: tuple[Tensor, Tensor | None]
) -> None:
    """Turn a layer's LoRA adapter of rank 2r into a residual LoRA with the initial factors A0, B0.

    Args:
        layer: PEFT's LoRA layer, which has the adapter already.
        adapter: its name.
        down: A0 (r, n) and ΔA, None for 0; in the layer's matrix form, whatever it stores.
        up: B0 (m, r) and ΔB.
    """
    like = layer.lora_A[adapter].weight
    trained, training, device = like.requires_grad, layer.training, like.device
    if device.type == "meta":  # PEFT sends a LoRA after its base, also to the disk
        device = getattr(getattr(layer.get_base_layer(), "_hf_hook", None), "execution_device", None) or "cpu"
    for container, kind, factors in ((layer.lora_A, ResidualDown, down), (layer.lora_B, ResidualUp, up)):
        initial, delta = factors[0].detach().to(device, like.dtype), factors[1]
        moved = None if delta is None else delta.detach().to(device, like.dtype).contiguous()
        container[adapter] = kind(initial.contiguous(), moved).requires_grad_(trained).train(training)
    layer.lora_variant[adapter] = ResidualLora()


@torch.no_grad()
def copy_residual(layer: Any, source: str, adapter: str) -> None:
    """Turn a layer's LoRA adapter into a residual LoRA that begins where another one began, with ΔA = ΔB = 0.

    Args:
        layer: PEFT's LoRA layer, which has both adapters already.
        source: the residual LoRA; its initial factors are copied, in their dtype and place.
        adapter: the other.
    """
    trained, training = layer.lora_A[adapter].weight.requires_grad, layer.training
    for container in (layer.lora_A, layer.lora_B):
        like = container[source]
        made = type(like)(like.initial.clone(), torch.zeros_like(like.delta))
        container[adapter] = made.requires_grad_(trained).train(training)
    layer.lora_variant[adapter] = ResidualLora()


def initial_factors(model: nn.Module) -> dict[str, Tensor]:
    """A0 of every residual LoRA, by the name of its module: what files hold only as A − ΔA, which is rounded."""
    found = ((name, part.initial) for name, part in model.named_modules() if isinstance(part, ResidualDown))
    return {
        name: (held.full_tensor() if isinstance(held, DTensor) else held).detach().cpu().contiguous()
        for name, held in found
    }


@torch.no_grad()
def restore_initial_factors(model: nn.Module, factors: Mapping[str, Tensor]) -> None:
    """Give every residual LoRA the A0 that it began with; ΔA stays, which files hold to the bit.

    Args:
        model: with the adapters, their other factors loaded.
        factors: as `initial_factors` gives them.
    """
    for name, part in model.named_modules():
        if isinstance(part, ResidualDown) and name in factors:
            part.initial.copy_(_in_pieces_like(part.initial, factors[name].to(part.initial.device)))
