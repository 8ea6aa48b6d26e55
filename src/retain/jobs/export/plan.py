"""What is asked of an export, and the models that it is made from, as plain values that both doors hand in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from retain.data.preprocess import Preprocessor
from retain.evaluate.conversion_loss import ReadBatch
from retain.exporting.llama_cpp import LlamaCpp
from retain.records.export_record import Form
from retain.records.result import Result


@dataclass(frozen=True)
class Plan:
    """What is asked.

    Attributes:
        to: the form.
        rank: of a LoRA; None for the update's own.
        dtype: name of the type of what is written, or auto.
        max_loss: nats per token that the export may differ by.
        base_id: the base's hub id.
        licence: of the base.
        gguf: what of a GGUF is made.
        outtype: its type.
        llama_cpp: the converters; None where none is needed.
        shard_size: of files of weights.
    """

    to: Form
    rank: int | Literal["auto"] | None = None
    dtype: str = "auto"
    max_loss: float | None = None
    base_id: str | None = None
    licence: str | None = None
    gguf: Literal["model", "adapter"] = "model"
    outtype: str = "f16"
    llama_cpp: LlamaCpp | None = None
    shard_size: str = "5GB"

    @property
    def form(self) -> Literal["lora", "merged", "folded", "ia3"]:
        """The form that is made of the weights; of a GGUF the one that is converted."""
        if self.to == "gguf":
            return "lora" if self.gguf == "adapter" else "merged"
        return self.to

    @property
    def makes_a_model(self) -> bool:
        """Whether a whole model is made, and not an adapter."""
        return self.form in {"merged", "folded"}


@dataclass
class Opened:
    """The models, which the export uses up.

    Attributes:
        model: the tuned one: a `PeftModel`, or a full model.
        adapter: the name of the adapter that is exported; None for a full model.
        base: the base, where it is not inside the model.
        stored_dtype: of the base's checkpoint.
        preprocessor: is written too, and reads; None where none was given.
        batches: on which the loss is measured.
        hashes: of the texts or items that they hold.
        plain: loads the model anew on an unquantised base; None where it lies on one.
        config_folder: makes a folder with the base's configuration, for llama.cpp.
        result: the record of the run.
        owned: whether the model may be used up; where not, what was written is not loaded for a trial.
        notes: for the record.
    """

    model: Any
    adapter: str | None
    base: Any = None
    stored_dtype: Any = None
    preprocessor: Preprocessor | None = None
    batches: Sequence[ReadBatch] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    plain: Callable[[], Any] | None = None
    config_folder: Callable[[Path], Path] | None = None
    result: Result | None = None
    owned: bool = True
    trust_remote_code: bool = False
    notes: list[str] = field(default_factory=list)
