"""The values of a LoRA as a GGUF file holds them, in the base's own names and order of rows.

llama.cpp's converter permutes the rows of some weights and rounds. Which rows, and how tensors are called, it knows;
here each tensor is rounded by the `gguf` package as the file's own type says, and must then hold just the rows of the
file's tensor, in whatever order. So what is measured are the file's values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retain.errors import RetainError

_PREFIX = "base_model.model."
_TOLERANCE = 1e-6


class UnreadableGGUFError(RetainError):
    """The tensors of a GGUF file cannot be matched with those that it was made of."""


def rounded_lora(file: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """A LoRA's tensors with the values that a GGUF file holds of them.

    Args:
        file: the GGUF that was made of them.
        tensors: of `adapter_model.safetensors`.

    Returns:
        The tensors by the same names, and the types that the file has.

    Raises:
        UnreadableGGUFError: a tensor is missing in the file, or has other values than rounding gives.
    """
    import gguf  # noqa: PLC0415 -- an extra

    reader = gguf.GGUFReader(str(file))
    names = _names(gguf, reader)
    held = {tensor.name: tensor for tensor in reader.tensors}
    found, kinds = {}, set()
    for key, value in tensors.items():
        module, _, part = key.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".lora_")
        own = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
        tensor = held.get(f"{own}.lora_{part.lower()}") if own else None
        if tensor is None:
            raise UnreadableGGUFError(f"{file.name} holds no {module} (looked for {own}.lora_{part.lower()}).")
        values = value.float().numpy()
        kind = tensor.tensor_type
        rounded = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind).reshape(values.shape)
        there = gguf.quants.dequantize(tensor.data, kind).reshape(values.shape)
        if not _same_rows(rounded, there):
            raise UnreadableGGUFError(f"{file.name}: {tensor.name} is not {module}, rounded to {kind.name}.")
        found[key] = torch.from_numpy(np.ascontiguousarray(rounded, dtype=np.float32))
        kinds.add(kind.name)
    return found, "+".join(sorted(kinds))


def types_in(file: Path) -> str:
    """The types of a GGUF file's matrices, the most frequent first."""
    import gguf  # noqa: PLC0415 -- an extra

    kinds = [one.tensor_type.name for one in gguf.GGUFReader(str(file)).tensors if len(one.shape) > 1]
    return "+".join(sorted(set(kinds), key=lambda kind: -kinds.count(kind)))


def _names(gguf: Any, reader: Any) -> Any:
    architecture = str(reader.fields["general.architecture"].contents())
    arch = next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    blocks = [int(one.name.split(".")[1]) for one in reader.tensors if one.name.startswith("blk.")]
    return gguf.get_tensor_name_map(arch, max(blocks, default=0) + 1)


def _same_rows(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two matrices hold the same rows in any order."""
    first, second = (matrix[np.lexsort(matrix.T[::-1])] for matrix in (one, other))
    return bool(np.allclose(first, second, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(one).max() or 1)))
