"""The configuration of SC-LoRA, and of every other data-driven initialisation of LoRA."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from retain.errors import InputError, is_number, layer_problems
from retain.methods import table

_TARGETING = (
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "task_type",
)  # fmt: skip
_OF_INITIALISATIONS = ("beta", "sample_norm", "seed")
"""Fields that act on some initialisations only; each row of the table lists its own."""


def without_effect(initialisation: str) -> list[str]:
    """The fields of `SCLoRAConfig` that have no effect on an initialisation."""
    acting = table.initialisations()[initialisation].fields
    return [name for name in _OF_INITIALISATIONS if name not in acting]


@dataclass
class SCLoRAConfig:
    """Configuration of SC-LoRA. One rank for all layers, so that every server takes the adapter.

    Examples:
        >>> retain.SCLoRAConfig(r=16, beta=0.5).beta
        0.5
    """

    # Rank, β and scale: studies/benchmark ran no others, and so says nothing of them. In earlier runs with one seed
    # β = .8 learned as much as 0 and moved other text a twelfth as far; 1 learned a sixth less.
    r: int = field(default=32, metadata={"help": "Rank: the number of output directions in which training begins."})
    beta: float = field(
        default=0.8,
        metadata={
            "help": "Weight of what must stay against what is to be learned, in [0, 1]: 0 takes the directions that "
            "matter most for the new data, 1 those that matter least for the data to keep."
        },
    )
    target_modules: list[str] | str | None = field(
        default="all-linear",
        metadata={"help": "Layers to adapt, as PEFT's LoraConfig takes them; 'all-linear' for all but the head."},
    )
    lora_alpha: float | None = field(
        default=None, metadata={"help": "The update is scaled by lora_alpha / r. None: lora_alpha = r, scale 1."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout on the input of A, in [0, 1)."})
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "Modules to leave out."})
    layers_to_transform: list[int] | int | None = field(default=None, metadata={"help": "Indices of layers to adapt."})
    layers_pattern: list[str] | str | None = field(default=None, metadata={"help": "Name of the model's layer list."})
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules to train in full and save with the adapter, e.g. a new head."}
    )
    task_type: str | None = field(
        default=None, metadata={"help": "PEFT's task type. None: that of the model, where it is a language model."}
    )
    initialisation: str = field(
        default="sc-lora",
        metadata={
            "help": "The choice of A0 and B0: "
            + "; ".join(f"{row.name}, {row.summary}" for row in table.INITIALISATIONS)
            + "."
        },
    )
    sample_norm: Literal["none", "max"] = field(
        default="none",
        metadata={"help": "max: divide each sample's outputs by the largest magnitude in them, as the authors do."},
    )
    seed: int = field(
        default=0, metadata={"help": "Seed of the eigensolver, where a layer is too large for a direct one."}
    )

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: with every field that is out of its range.
        """
        problems = layer_problems(vars(self))
        if isinstance(self.r, bool) or not isinstance(self.r, int) or self.r < 1:
            problems.append(f"r={self.r!r}: a rank is a whole number ≥ 1.")
        if not (is_number(self.beta) and 0 <= self.beta <= 1):
            problems.append(f"beta={self.beta!r}: beta lies in [0, 1].")
        if not (is_number(self.lora_dropout) and 0 <= self.lora_dropout < 1):
            problems.append(f"lora_dropout={self.lora_dropout!r}: a dropout lies in [0, 1).")
        if self.lora_alpha is not None and not (is_number(self.lora_alpha) and self.lora_alpha > 0):
            problems.append(f"lora_alpha={self.lora_alpha!r}: give a number above 0.")
        if self.initialisation not in table.initialisations():
            problems.append(f"initialisation={self.initialisation!r}: known are {', '.join(table.initialisations())}.")
        if self.sample_norm not in ("none", "max"):
            problems.append(f"sample_norm={self.sample_norm!r}: give none or max.")
        if problems:
            raise InputError(problems)

    @property
    def scale(self) -> float:
        """The scale s = α/r."""
        return 1.0 if self.lora_alpha is None else self.lora_alpha / self.r

    @property
    def targets(self) -> dict[str, Any]:
        """The fields that select layers, as PEFT takes them."""
        return {name: getattr(self, name) for name in _TARGETING if getattr(self, name) is not None}

    @property
    def lora_fields(self) -> dict[str, Any]:
        """The fields of PEFT's LoraConfig, with this rank and alpha."""
        hidden = {*_OF_INITIALISATIONS, "initialisation"}
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in hidden}
        alpha = self.r if self.lora_alpha is None else self.lora_alpha
        return {name: value for name, value in own.items() if value is not None} | {"lora_alpha": alpha}
