"""What is to be served, as plain facts: an adapter or a model, its tensors by their headers, and its base's config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Kind = Literal["adapter", "model", "gguf adapter", "gguf model"]
"""What can be served."""

BasePlace = Literal["hub id", "folder", "missing folder", "none"]
"""Where an adapter's configuration says that its base is."""

PREFIX = "base_model.model."
"""What PEFT puts before the name of a module in a file of weights."""

_LORA = re.compile(r"^(?P<module>.+?)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B)(\.weight)?$")
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_FUSED = {"experts", "base_layer"}


class Header(NamedTuple):
    """A tensor as a file's header describes it: its shape, and its type in the words of safetensors (F32, BF16, …)."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Vocabulary:
    """What lies beside weights for tokens and prompts.

    Attributes:
        added: the added tokens with their ids.
        template: the chat template; None where there is none.
        there: whether a tokenizer lies there at all.
    """

    added: Mapping[str, int] = field(default_factory=dict)
    template: str | None = None
    there: bool = False


@dataclass(frozen=True)
class Served:
    """An adapter or a model with what servers look at.

    Attributes:
        path: as the user gave it.
        kind: what it is.
        config: `adapter_config.json` or `config.json`; of a GGUF file its metadata.
        tensors: headers by name, as in the file; empty where they could not be read.
        files: the names in its folder.
        base_name: the base as an adapter's configuration names it.
        base_place: what that name is.
        base: the base's `config.json`; None where it is not at hand.
        own: the tokenizer beside the weights.
        base_own: the base's tokenizer; None where it is not at hand.
        place: the folder or file itself, of a run the one in it; empty where it is `path`.
    """

    path: str
    kind: Kind
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Header] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    base_name: str = ""
    base_place: BasePlace = "none"
    base: Mapping[str, Any] | None = None
    own: Vocabulary = field(default_factory=Vocabulary)
    base_own: Vocabulary | None = None
    place: str = ""

    @property
    def method(self) -> str:
        """PEFT's name of the method, in capitals; empty for a model."""
        return str(self.config.get("peft_type", "")).upper()

    @property
    def architecture(self) -> str | None:
        """The model's class as its configuration names it; None where it is not known."""
        config = self.config if self.kind == "model" else self.base
        listed = (config or {}).get("architectures")
        return str(listed[0]) if isinstance(listed, list) and listed else None

    @property
    def model_config(self) -> Mapping[str, Any] | None:
        """The configuration of the model that is served: the base's for an adapter."""
        return self.config if self.kind == "model" else self.base

    @cached_property
    def ranks(self) -> dict[str, int]:
        """The rank of each module's LoRA, from the tensors; fused experts stand in one tensor, and are left out."""
        factors = [one for one in self.lora("lora_A", "lora_embedding_A") if one.header.shape]
        return {one.module: one.header.shape[0] for one in factors if kind_of(one.module) not in _FUSED}

    @property
    def largest_rank(self) -> int | None:
        """The largest rank by the configuration, as servers read it; by the tensors where it names none."""
        pattern = self.config.get("rank_pattern") or {}
        named = [self.config.get("r"), *(pattern.values() if isinstance(pattern, Mapping) else ())]
        whole = [one for one in named if isinstance(one, int) and not isinstance(one, bool)]
        return max(whole or self.ranks.values(), default=None)

    def lora(self, *parts: str) -> Iterator[LoraPart]:
        """The tensors that are one of some parts of a LoRA."""
        for name, header in self.tensors.items():
            found = _LORA.match(name)
            if found and (not parts or found["part"] in parts):
                yield LoraPart(found["module"].removeprefix(PREFIX), found["part"], header)


class LoraPart(NamedTuple):
    """One factor of a module's LoRA."""

    module: str
    part: str
    header: Header


def kind_of(module: str) -> str:
    """The last part of a module's name, by which servers know what it is: `q_proj`."""
    return module.rsplit(".", 1)[-1]


def layer_of(module: str) -> int | None:
    """The number of the layer that a module lies in; None outside of layers."""
    found = _LAYER.search(module)
    return int(found[1]) if found else None


def text_value(config: Mapping[str, Any] | None, name: str) -> Any:
    """A value of a model's configuration, or of its part for text; None where there is none.

    Args:
        config: the configuration.
        name: of the value; `a.b` is the value b of the mapping a.
    """
    if config is None:
        return None
    outer, _, within = name.partition(".")
    if within and name not in config:
        held = text_value(config, outer)
        return held.get(within) if isinstance(held, Mapping) else None
    inner = config.get("text_config")
    value = config.get(name)
    return inner.get(name) if value is None and isinstance(inner, Mapping) else value
