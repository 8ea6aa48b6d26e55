"""A base layer's weight: read it as a matrix, write it, and put the very bits back. Unquantised and quantised alike."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft.utils import resolve_quantization_backend
from peft.utils.quantization_utils import TorchaoBackend, get_quantization_kwargs
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers.pytorch_utils import Conv1D

from retain.errors import MergeError
from retain.hf.tuners.storage import as_stored, dequantised


def quantization_backend(base: nn.Module, model: nn.Module) -> Any:
    """PEFT's helper for a quantised layer; None for a plain one.

    A layer that was quantised with torchao by hand does not tell how, so it can be read but not written again.
    """
    try:
        return resolve_quantization_backend(base, **get_quantization_kwargs(model))
    except ValueError:  # raised for torchao without the model's quantisation config
        return TorchaoBackend(_unknown_quantization)


def _unknown_quantization() -> None:
    raise MergeError(
        "The base was quantised with torchao by hand, so it is not known how to quantise the merged weight again. "
        "Load the model with a TorchAoConfig, or merge into the model before it is quantised."
    )


def is_linear(base: nn.Module) -> bool:
    """Tell whether a module is an unquantised linear layer: `nn.Linear` or transformers' `Conv1D`."""
    return isinstance(base, (nn.Linear, Conv1D))


def features(base: Any) -> tuple[int, int]:
    """(in, out) = (n, m) of a linear layer, quantised or not."""
    if isinstance(base, Conv1D):
        inside, outside = base.weight.shape
        return int(inside), int(outside)
    return int(base.in_features), int(base.out_features)


def as_matrix(base: nn.Module, stored: Tensor) -> Tensor:
    """A weight in the layer's own layout as the matrix (m, n), and back: Conv1D stores (n, m)."""
    return stored.T if isinstance(base, Conv1D) else stored


def at_least_float32(weight: Tensor) -> Tensor:
    """The same values in float32, or float64 where they are that already."""
    return weight if weight.dtype == torch.float64 else weight.float()


class _Held:
    """The parameter objects of a quantised layer with all that its library hangs on them, shallowly."""

    def __init__(self, base: nn.Module) -> None:
        self._parameters = dict(base._parameters)  # noqa: SLF001 -- quantised layers swap their parameter objects
        self._attributes = [(p, dict(p.__dict__)) for p in self._parameters.values() if p is not None]
        self._state = copy.copy(getattr(base, "state", None))  # bitsandbytes keeps its scales there

    def put_back(self, base: nn.Module) -> None:
        base._parameters.update(self._parameters)  # noqa: SLF001 -- as above
        for parameter, attributes in self._attributes:
            parameter.__dict__.clear()
            parameter.__dict__.update(attributes)
        if self._state is not None:
            base.state = copy.copy(self._state)


class Original:
    """A layer's base weight from before anything was merged into it, with all that is needed to put it back.

    It holds the old storage itself, not a copy: merging gives the layer new storage. It is no module and no buffer, so
    it never enters a state dict.
    """

    def __init__(self, layer: Any) -> None:
        """Take hold of the weight of `layer.base_layer`.

        Raises:
            MergeError: the weight is not all here (sharded or offloaded), so that it cannot be rewritten.
        """
        self._base: nn.Module = layer.base_layer
        self._backend: Any = layer.quantization_backend
        self._held = _Held(self._base)
        weight = getattr(self._base, "weight", None)
        if isinstance(weight, DTensor) or (weight is not None and weight.device.type == "meta"):
            raise MergeError(
                f"The weight of {type(self._base).__name__} is sharded or offloaded and cannot be read where it "
                "lies; load the full model on one device, load the adapter, and merge there."
            )
        self._data = weight.data if self._backend is None and weight is not None else None

    def matrix(self) -> Tensor:
        """W0 (m, n), dequantised where the base is quantised."""
        if self._data is not None:
            return as_matrix(self._base, self._data)
        now = _Held(self._base)
        self._held.put_back(self._base)
        try:
            return dequantised(self._base, self._backend)
        except TypeError as error:  # the backends' way to say that they only run forward
            raise MergeError(f"{error} Merge into the model before it is quantised.") from error
        finally:
            now.put_back(self._base)

    def write(self, layer: Any, matrix: Tensor) -> None:
        """Give the layer the weight `matrix` (m, n), rounded to the layer's dtype or quantised again."""
        if self._data is None:
            as_stored(self._base)  # the backend copies what it finds
            self._backend.set_base_weight(layer, matrix.to(self.matrix().dtype))
            return
        weight = layer.base_layer.weight
        weight.data = as_matrix(self._base, matrix).to(weight.dtype).contiguous()

    def rounded_away(self, layer: Any, merged: Tensor) -> tuple[float, float] | None:
        """What quantising a merged weight again took of the update, and the update: ‖W − W'‖² and ‖W − W0‖².

        Args:
            layer: that was just written.
            merged: W (m, n), as it should be.

        Returns:
            None for a base that is not quantised.
        """
        if self._data is not None:
            return None
        written = Original(layer).matrix()
        lost, update = (at_least_float32(merged) - at_least_float32(one) for one in (written, self.matrix()))
        return float(lost.double().square().sum()), float(update.double().square().sum())

    def restore(self, layer: Any) -> None:
        """Put the original back, bit for bit; on the layer's present device and dtype, should it have been moved."""
        if self._data is None:
            layer.base_layer = self._base
            self._held.put_back(self._base)
            return
        weight = layer.base_layer.weight
        weight.data = self._data.to(device=weight.device, dtype=weight.dtype)
