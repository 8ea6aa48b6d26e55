"""An adapter as an ordinary LoRA of any rank, with what that leaves out."""

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
    """What was written.

    Attributes:
        folder: where it lies.
        rank: of every layer.
        error: ‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all layers together; 0 where the rank is enough.
        layers: the same for each layer by its name.
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
        folder: where to write; an adapter that is there is replaced.
        rank: of the export. None: the adapter's own, which loses nothing (2r for SC-LoRA).
        adapter_name: which adapter.

    Returns:
        Where it lies, and the error.

    Raises:
        InputError: the adapter has no low-rank update or changes what a LoRA cannot carry (biases, embeddings, whole
            modules, a rewritten base), the rank is none, or the folder holds something else.
    """
    if rank is not None and rank < 1:
        raise InputError(f"rank={rank}: give a whole number ≥ 1, or None for the adapter's own.")
    found = {name: (B.detach().cpu(), A.detach().cpu()) for name, B, A in lora_factors(model, adapter_name)}
    chosen = rank or max(A.shape[0] for _, A in found.values())
    cut = {name: truncated(B.double(), A.double(), chosen) for name, (B, A) in found.items()}
    factors = {name: (B, A) for name, (B, A, _, _) in cut.items()}
    path = write_lora(model, adapter_name, factors, chosen, Path(folder))
    lost, whole = (math.fsum(part[index] ** 2 for part in cut.values()) for index in (2, 3))
    errors = {name: lost / size if size > 0 else 0.0 for name, (_, _, lost, size) in cut.items()}
    return Exported(path, chosen, math.sqrt(lost / whole) if whole > 0 else 0.0, errors)
