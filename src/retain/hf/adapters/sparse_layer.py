"""PEFT's layer of a sparse update (Supertuning) with less time and memory, and with an exact way back from merging.

A layer's class is exchanged for a subclass of it and nothing else, so it is saved, loaded and switched as PEFT's. Where
the form of ours does not apply (several adapters, a low-rank part, hooks, autocast, torch.compile, a trained base),
PEFT's forward is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners import supertuning
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from retain.errors import MergeError
from retain.hf.models.sides import root_of
from retain.hf.tuners import forward as forms
from retain.hf.tuners.shared_weights import refuse_shared
from retain.kernels import eligibility
from retain.kernels.sparse_entries import FEW_TOKENS, Rows, added, by_rows, sparse_linear


class SparseLinear(supertuning.Linear):  # type: ignore[misc]  # PEFT ships no types
    """PEFT's layer with another forward, and with merging that can be undone to the bit."""

    _rows: tuple[tuple[Tensor, int, int], Rows | None] | None = None
    _unmerged: list[tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output, as PEFT's; see `retain.kernels.sparse_entries`."""
        found = None if args or kwargs or torch.compiler.is_compiling() else self._fused(x)
        return super().forward(x, *args, **kwargs) if found is None else found

    def _fused(self, x: Tensor) -> Tensor | None:
        names = [name for name in self.active_adapters if name in self.supertuning_values]
        if self.disable_adapters or self.merged or len(names) != 1 or self.supertuning_rank[names[0]] or x.dim() == 0:
            return None
        base = forms.frozen_matrix(self.get_base_layer(), x)
        if base is None or self.base_layer is not self.get_base_layer():
            return None
        values, places = self.supertuning_values[names[0]], self.supertuning_indices[names[0]]
        if not eligibility.eligible(x, *base, values):
            return None
        few = x.numel() <= FEW_TOKENS * x.shape[-1]  # checkpointing runs a training pass without a graph first
        if few and not self.training and not torch.is_grad_enabled() and self._are_exact(x):
            rows = self._by_rows(places, base.weight.shape)
            if rows is not None:
                return added(x, base.weight, base.bias, rows, values)
        return sparse_linear(x, base.weight, base.bias, places, values)

    @staticmethod
    def _are_exact(x: Tensor) -> bool:
        """Tell whether S x is measured to be faster, and is no other function: W0 + S in 16 bits is rounded."""
        return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)

    def _by_rows(self, places: Tensor, shape: torch.Size) -> Rows | None:
        """The places by rows, made once for each content that they have.

        The tensor is held, too: another adapter's may come to lie where that of a deleted one lay.
        """
        content = places.data_ptr(), places._version  # noqa: SLF001 -- torch has no public name for it
        if self._rows is None or self._rows[0][0] is not places or self._rows[0][1:] != content:
            self._rows = (places, *content), by_rows(places, shape)
        return self._rows[1]

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add each adapter into the base's weight as PEFT does, keeping the entries that were there.

        Raises:
            MergeError: a merged entry is not finite; nothing was changed.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) or [] if name in self.supertuning_values]
        flat = self.get_base_layer().weight.data.reshape(-1)
        for name in names:
            if self.supertuning_rank[name]:
                super().merge(safe_merge=safe_merge, adapter_names=[name])
                continue
            places, before = self.supertuning_indices[name].to(torch.int64), None
            before = flat[places].clone()
            after = before + self.supertuning_values[name].detach().to(flat.dtype)
            if safe_merge and not bool(torch.isfinite(after).all()):
                raise MergeError(f"adapter {name!r}: a merged entry is not finite, so it was not merged.")
            flat[places] = after
            self._unmerged = [*(self._unmerged or []), (places, before)]
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Put the base's own entries back, bit for bit."""
        if not self._unmerged or len(self._unmerged) != len(self.merged_adapters):
            super().unmerge()  # it was merged by PEFT's layer, or there is nothing to undo
            self._unmerged = None
            return
        flat = self.get_base_layer().weight.data.reshape(-1)
        while self._unmerged:
            places, before = self._unmerged.pop()
            flat[places] = before.to(flat)
            self.merged_adapters.pop()


class SparseModel(supertuning.SupertuningModel):  # type: ignore[misc]  # PEFT ships no types
    """PEFT's tuner, which merges into no weight that another module uses too."""

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        layers = {key: module for key, module in self.model.named_modules() if isinstance(module, SparseLinear)}
        refuse_shared(self.model, layers)


def sparse_layers(model: nn.Module, adapter: str = "default") -> Iterator[tuple[str, Any]]:
    """The layers with a sparse update of that name, by their names in the base, without a low-rank part."""
    for key, module in root_of(model).named_modules():
        if isinstance(module, supertuning.SupertuningLayer) and adapter in module.supertuning_values:
            yield key, module


def take_sparse_form(model: nn.Module) -> None:
    """Let PEFT's layers of sparse updates compute in our form; layers whose forward was replaced stay."""
    module: Any
    for module in model.modules():
        if type(module) is supertuning.Linear and "forward" not in vars(module):
            module.__class__ = SparseLinear
        elif type(module) is supertuning.SupertuningModel:
            module.__class__ = SparseModel
