"""Memory of torch's own for weights that were read from a file.

A tensor of a safetensors file lies in the mapped file, wherever that has it. BLAS rounds differently at another
alignment on some processors. So a model that was read back would not compute to the bit what it computed in memory, and
a run that goes on from a file would not end in the bits of one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

ALIGNMENT = 64
"""Bytes to which torch aligns what it allocates on a CPU."""


def own_memory(model: nn.Module) -> nn.Module:
    """Move a model's weights that lie at another alignment than torch's into memory of their own; no value changes.

    Args:
        model: on any device; what is on none (meta) or on an accelerator, which allocates by itself, stays where it is.

    Returns:
        The same model. Tensors that share memory with one another go on sharing it.
    """
    moved: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor] = {}
    for tensor in _tensors(model):
        data = tensor.data
        if type(data) is not Tensor or data.device.type != "cpu" or data.data_ptr() % ALIGNMENT == 0:
            continue
        key = data.data_ptr(), tuple(data.shape), tuple(data.stride())
        if key not in moved:
            moved[key] = data.clone()
        tensor.data = moved[key]
    return model


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
