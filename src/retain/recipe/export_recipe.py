"""The recipe of `retain export`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from retain.recipe.loading_options import LoadingOptions
from retain.recipe.marks import COMMON, Decides, Flag
from retain.records.export_record import Form
from retain.records.paths import expanded

EXACT_RANK = 4096
"""The largest rank that can be asked for."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")


class ExportRecipe(LoadingOptions):
    """The fields of `retain export`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tuned: Annotated[str, Decides("data"), Flag(COMMON, "MODEL", place=1)] = Field(
        description="What is exported: an adapter that PEFT loads (a folder or a hub id), or a full model's folder."
    )
    to: Annotated[Form, Decides("nothing"), Flag(COMMON, place=2)] = Field(
        description="lora: a stock LoRA, for vLLM and others. merged: a plain model. folded: a plain model with a "
        "VeFA's scales in the layers before. ia3: a VeFA as stock IA3. gguf: for llama.cpp and Ollama.",
    )
    output: Annotated[str, Decides("nothing"), Flag(COMMON, "FOLDER", place=3)] = Field(
        description="Folder for the export. [of a run: RUN/export-FORM]"
    )
    model: Annotated[str | None, Decides("data"), Flag(COMMON, "MODEL", place=4)] = Field(
        None, description="Base model: a folder or a hub id. [the one that the run or the adapter names]"
    )
    held_out_text: Annotated[tuple[str, ...], Decides("data"), Flag(COMMON, "FILE", place=5)] = Field(
        (), description="Plain text on which the loss of the export is measured. [the run's own]"
    )
    test: Annotated[str | None, Decides("data"), Flag(COMMON, "DATA", place=6)] = Field(
        None, description="Items on which the loss is measured of a model that reads no text to continue. [the run's]"
    )
    max_loss: Annotated[float | None, Decides("nothing"), Flag(COMMON, "NATS", place=7)] = Field(
        None,
        ge=0,
        description="Deliver nothing, and end with exit code 3, if the export differs from the adapter by more: mean "
        "KL in nats per token.",
    )
    rank: Annotated[int | Literal["auto"] | None, Decides("nothing"), Flag(COMMON, "N|auto", place=8)] = Field(
        None,
        description="Rank of the LoRA: the best one of that rank. auto: the smallest whose loss is at most --max-loss. "
        "[the update's own, which loses nothing]",
    )
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], Decides("nothing"), Flag(COMMON, place=9)] = (
        Field(
            "auto", description="Type of the weights that are written. [of a model its base's; of an adapter float32]"
        )
    )
    base_model_id: Annotated[str | None, Decides("nothing"), Flag(COMMON, "OWNER/NAME")] = Field(
        None, description="The base's hub id, for the files that name it. [the base's name, where it is one]"
    )
    licence: Annotated[str | None, Decides("nothing"), Flag(COMMON, "ID")] = Field(
        None, description="Licence that the card states, as the hub names it (apache-2.0). [the base's, where known]"
    )
    gguf: Annotated[Literal["model", "adapter"], Decides("nothing"), Flag("GGUF")] = Field(
        "model", description="Make a GGUF of the merged model, or of the adapter alone (as a LoRA)."
    )
    outtype: Annotated[str, Decides("nothing"), Flag("GGUF", "TYPE")] = Field(
        "f16", description="Type of the GGUF: f32, f16, bf16, q8_0; of a model also what llama-quantize makes (q4_k_m)."
    )
    llama_cpp: Annotated[str | None, Decides("nothing"), Flag("GGUF", "PATH")] = Field(
        None, description="llama.cpp's sources, which hold its converters. [found on PATH or in installed packages]"
    )
    computed_in: Annotated[Literal["float32", "auto"], Decides("nothing"), Flag("measurement")] = Field(
        "float32",
        description="Type in which both sides are computed to be compared: float32 leaves the difference of the "
        "weights alone; auto, the checkpoint's own, takes half the memory.",
    )
    held_out_tokens: Annotated[int, Decides("nothing"), Flag("measurement")] = Field(
        8192, gt=1, description="Tokens of held-out text used at most."
    )
    max_length: Annotated[int, Decides("nothing"), Flag("measurement")] = Field(
        512, gt=1, description="Longest sequence, in tokens."
    )
    shard_size: Annotated[str, Decides("nothing"), Flag("model", "SIZE")] = Field(
        "5GB", description="Largest file of weights of a model."
    )

    @field_validator("held_out_text", mode="before")
    @classmethod
    def _one_source_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("rank", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value)
        is_rank = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= EXACT_RANK
        if value is None or value == "auto" or is_rank:
            return value
        raise ValueError(f"give a whole number from 1 to {EXACT_RANK}, or auto")

    @field_validator("base_model_id", mode="after")
    @classmethod
    def _is_no_path(cls, value: str | None) -> str | None:
        if value is not None and (not _HUB_ID.fullmatch(value) or ".." in value):
            raise ValueError("expected a hub id, OWNER/NAME, and no path of this machine")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _text_is_text(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and ("\0" in value or not value.strip()):
            raise ValueError(f"expected {'a name' if info.field_name != 'output' else 'a folder'}, not blank")
        return value.lower() if isinstance(value, str) and info.field_name == "outtype" else value

    @field_validator("output", mode="after")
    @classmethod
    def _home(cls, value: str) -> str:
        return str(expanded(value)) if value.startswith("~") else value

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.rank is not None and not (self.to == "lora" or (self.to == "gguf" and self.gguf == "adapter")):
            raise ValueError(f"rank: --to {self.to} has none; it belongs to --to lora (and --to gguf --gguf adapter)")
        if self.rank == "auto" and self.max_loss is None:
            raise ValueError("rank: auto needs --max-loss, the nats per token that the export may lose")
        if self.gguf == "adapter" and self.to != "gguf":
            raise ValueError(f"gguf: belongs to --to gguf, not to --to {self.to}")
        return self
