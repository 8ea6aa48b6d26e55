"""A seal on a base: any bit that changes while adapters are put on, trained and taken off is detected."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Seal:
    """Remembers the tensors of a base and a sum over the bits of each.

    Bits are added up as integers: that is cheap, and a training step leaves a sum unchanged only by coincidence.
    Quantised tensors of several parts are left to the hash at the sweep's end.
    """

    def __init__(self, base: nn.Module) -> None:
        self._tensors: dict[str, Tensor] = base.state_dict(keep_vars=True)
        self._sums = self._added_up()

    def holds(self, base: nn.Module | None = None) -> bool:
        """True if no bit changed; with a model, only if it consists of these very tensors."""
        if base is not None:
            now = base.state_dict(keep_vars=True)
            if now.keys() != self._tensors.keys() or any(now[key] is not one for key, one in self._tensors.items()):
                return False
        return self._added_up() == self._sums

    def _added_up(self) -> list[int]:
        return [_bits(tensor) for tensor in self._tensors.values()]


def _bits(tensor: Tensor) -> int:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type != "meta"
    if not plain or not tensor.numel() or tensor.element_size() not in kinds:
        return 0
    return int(tensor.detach().contiguous().view(kinds[tensor.element_size()]).sum(dtype=torch.int64))


def is_bare(base: nn.Module, seal: Seal) -> bool:
    """True if a base carries no adapter and is unchanged."""
    return not hasattr(base, "peft_config") and seal.holds(base)
