"""How the base is loaded: the type of its weights, their quantisation, where its layers lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from retain.errors import InputError
from retain.recipe.marks import Decides, Flag
from retain.recipe.template_options import TemplateOptions
from retain.records.reading import parse_yaml

QUANTIZATIONS = ("4bit", "8bit", "torchao-int8")
"""Quantisations that have a name; others are given by the fields of transformers' configurations."""

PLACEMENTS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Strategies by which Accelerate spreads a model over devices."""

_FIELDS = "fields as transformers' quantisation configurations have them, as {quant_method: bitsandbytes, …}"


class LoadingOptions(TemplateOptions):
    """How the base is loaded, the same for everything that loads it."""

    dtype: Annotated[
        Literal["auto", "fast", "float32", "bfloat16", "float16"],
        Decides("training", inherited_by=("from", "scale"), recorded=True),
        Flag("model"),
    ] = Field(
        "auto",
        description="Type of the base's weights; auto: the checkpoint's; fast: bfloat16 where the device computes in "
        "it, else float32.",
    )
    quantization: Annotated[
        str | dict[str, Any] | None,
        Decides("training", when="quantization", inherited_by=("from", "scale"), recorded=True),
        Flag("model", "4bit|8bit|torchao-int8|FIELDS"),
    ] = Field(
        None,
        description="Quantise the base as it is loaded: 4bit (NF4 with double quantisation and bfloat16 products, as "
        "QLoRA has it), 8bit (both bitsandbytes), torchao-int8; or the fields of one of transformers' configurations, "
        "as '{quant_method: bitsandbytes, load_in_4bit: true, bnb_4bit_quant_type: fp4}'. [as the checkpoint is]",
    )
    device_map: Annotated[
        str | dict[str, Any] | None,
        Decides("nothing", inherited_by=("from", "scale")),
        Flag("model", "auto|MAPPING"),
    ] = Field(
        None,
        description="Where the base's layers lie: auto spreads them over all accelerators, memory and disk; or a "
        "mapping from modules to devices, as '{model.embed_tokens: 0, model.layers: cpu}'. [all on one device]",
    )
    max_memory: Annotated[
        dict[str, Any],
        Decides("nothing", inherited_by=("from", "scale")),
        Flag("model", "SIZES"),
    ] = Field(
        default_factory=dict,
        description="With --device-map auto, the most memory that weights take on a device: --max-memory.0 20GiB "
        "--max-memory.cpu 60GiB. [what is free]",
    )
    attention: Annotated[str | None, Decides("training", inherited_by=("from", "scale")), Flag("model", "NAME")] = (
        Field(
            None,
            description="Attention of transformers: sdpa, eager, flash_attention_2, …; on a CPU eager trains short "
            "sequences in bfloat16 about twice as fast. [transformers' choice]",
        )
    )
    trust_remote_code: Annotated[bool, Decides("training", inherited_by=("from", "scale")), Flag("model")] = Field(
        default=False, description="Run code that comes with the model."
    )

    @field_validator("quantization", "device_map", mode="before")
    @classmethod
    def _mapping_by_text(cls, value: Any) -> Any:
        """A mapping that a flag gives as text: {name: value, …}."""
        if not isinstance(value, str) or not value.lstrip().startswith("{"):
            return _with_text_keys(value)
        try:
            return _with_text_keys(parse_yaml(value, "the mapping"))
        except InputError as error:
            raise ValueError(str(error)) from error

    @field_validator("max_memory", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        return _with_text_keys(value)

    @field_validator("quantization", mode="after")
    @classmethod
    def _known_quantization(cls, value: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        if isinstance(value, str) and value not in QUANTIZATIONS:
            raise ValueError(f"expected {', '.join(QUANTIZATIONS)}, or {_FIELDS}")
        if value == {}:
            raise ValueError(f"expected {_FIELDS}")
        return value

    @field_validator("device_map", mode="after")
    @classmethod
    def _known_placement(cls, value: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        places = list(value.values()) if isinstance(value, dict) else [value]
        if value is not None and (places in ([], [""]) or not all(map(_is_place, places))):
            raise ValueError(f"expected {', '.join(PLACEMENTS)}, a device, or a mapping from modules to devices")
        return value

    @field_validator("max_memory", mode="after")
    @classmethod
    def _sizes(cls, value: dict[str, Any]) -> dict[str, Any]:
        if odd := [size for size in value.values() if not _is_size(size)]:
            raise ValueError(f"{odd[0]!r} is no size; say for instance 20GiB, 500MB, or a number of bytes")
        return value

    @model_validator(mode="after")
    def _memory_is_asked_for(self) -> Self:
        if self.max_memory and self.device_map not in PLACEMENTS:
            raise ValueError("max_memory: is read with device_map auto (or balanced, sequential); give that too")
        return self


def _with_text_keys(value: Any) -> Any:
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else value


def _is_place(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    """Tell whether Accelerate reads a size as it is meant: it takes 60gb as bits, and -5 as a number of bytes."""
    if isinstance(value, str):
        return _SIZE.fullmatch(value.strip()) is not None
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_SIZE = re.compile(r"[0-9]+|[0-9]+(\.[0-9]+)?\s*((?i:[kmg]ib)|[kmgKMG]B)")
