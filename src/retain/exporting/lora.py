"""Export of an adapter as an ordinary LoRA of any rank, with the error of the truncation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from retain.errors import InputError
from retain.hf.adapters.lora_files import lora_factors, write_lora
from retain.linalg.matrices import truncated


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        folder: where the LoRA lies.
        rank: of every layer.
        error: ‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all layers together; 0 where the rank is enough.
        layers: the same for each layer by its name.

    Examples:
        >>> exported = retain.export_lora(model, "served", rank=2)
        >>> exported.rank, exported.folder.name, exported.error < 1
        (2, 'served', True)
    """

    folder: Path
    rank: int
    error: float
    layers: dict[str, float]


def export_lora(
    model: nn.Module, folder: str | Path, *, rank: int | None = None, adapter_name: str = "default"
) -> Exported:
    """Write an adapter as a LoRA that stock PEFT and servers load: one rank, alpha equal to it, no patterns.

    Of each layer's update the best approximation of that rank is written (its leading singular directions).

    Args:
        model: a `PeftModel` with a LoRA, SC-LoRA or LoRFA adapter.
        folder: where to write; an adapter that retain wrote there is replaced.
        rank: of the export. None: the adapter's own, which loses nothing (2r for SC-LoRA).
        adapter_name: which adapter.

    Returns:
        The folder, the rank and the error.

    Raises:
        InputError: the adapter has no low-rank update or changes what a LoRA cannot carry (biases, embeddings, full
            modules, a rewritten base), the rank is not positive, or the folder holds something else.

    Examples:
        >>> retain.export_lora(model, "served", rank=4).rank  # a folder that vLLM and llama.cpp read
        4
    """
    if rank is not None and rank < 1:
        raise InputError(f"rank={rank}: give a whole number ≥ 1, or None for the adapter's own.")
    factors = {name: (B.detach().cpu(), A.detach().cpu()) for name, B, A in lora_factors(model, adapter_name)}
    chosen = rank or max(A.shape[0] for _, A in factors.values())
    cut = {name: truncated(B.double(), A.double(), chosen) for name, (B, A) in factors.items()}
    kept = {name: (B, A) for name, (B, A, _, _) in cut.items()}
    path = write_lora(model, adapter_name, kept, chosen, Path(folder))
    lost, total = (math.fsum(part[index] ** 2 for part in cut.values()) for index in (2, 3))
    errors = {name: lost / size if size > 0 else 0.0 for name, (_, _, lost, size) in cut.items()}
    return Exported(path, chosen, math.sqrt(lost / total) if total > 0 else 0.0, errors)
