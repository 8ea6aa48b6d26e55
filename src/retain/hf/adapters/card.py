"""The model card of an adapter or model, as the hub reads it; no path of this machine stands in it.

The card that PEFT writes names the base by the path that it was loaded from, which the hub refuses as `base_model` and
which shows the user's folders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData, metadata_load
from peft import PeftConfig
from torch import nn
from transformers.utils import cached_file
from yaml import YAMLError

from retain.hf.models.head import is_classifier
from retain.hf.models.sides import root_of
from retain.records.manifest import CARD
from retain.records.paths import without_paths

PLACEHOLDER = "THIS_FOLDER_OR_REPOSITORY"
"""What a card's commands say in place of where the reader has the folder."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")

_PIPELINES = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text2text-generation",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForImageClassification": "image-classification",
    "AutoModel": "feature-extraction",
}


@dataclass(frozen=True)
class Card:
    """The facts and the text of a card.

    Attributes:
        title: its heading.
        intro: the first paragraph.
        base: the base's hub id; None where it has none.
        library: transformers, peft, or another that reads it.
        pipeline: what the model is for, in the hub's words.
        relation: adapter, finetune, merge or quantized.
        licence: of the base, where it is known.
        tags: beside `retain`.
        sections: Markdown, each with its heading.
    """

    title: str
    intro: str
    base: str | None
    library: str | None
    pipeline: str | None
    relation: str = ""
    licence: str | None = None
    tags: Sequence[str] = ()
    sections: Sequence[str] = field(default_factory=tuple)

    def text(self) -> str:
        """The card as Markdown with its front matter."""
        tags = ["retain", *self.tags]
        if self.base is not None and self.relation:
            tags.append(f"base_model:{self.relation}:{self.base}")
        data = ModelCardData(
            base_model=self.base,
            library_name=self.library,
            pipeline_tag=self.pipeline,
            license=self.licence,
            tags=tags,
        )
        body = "\n\n".join(part.strip() for part in (f"# {self.title}", self.intro, *self.sections) if part.strip())
        return f"---\n{data.to_yaml()}\n---\n\n{without_paths(body)}\n"


def hub_id(name: str | None) -> str | None:
    """A model's name where it can only be a hub id: of a repository's form, and no path that exists here.

    Args:
        name: the `_name_or_path` of a configuration, or an adapter's `base_model_name_or_path`.

    Returns:
        The name, or None for a local path and for nothing.
    """
    if not name or not _REPOSITORY.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", "-", ".")):
        return None
    return None if Path(name).exists() else name


def licence_of(source: str | None) -> str | None:
    """The licence that the card beside a model tells, where that card is on this machine."""
    if not source:
        return None
    try:
        place: Any = Path(source) / CARD
        if not place.is_file():
            place = cached_file(
                source,
                CARD,
                local_files_only=True,
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        found = None if place is None else (metadata_load(place) or {}).get("license")
    except (OSError, ValueError, TypeError, YAMLError):
        return None
    return str(found) if found else None


def kind_of(config: PeftConfig) -> str:
    """The adapter's method by its PEFT type, in lower case."""
    return str(getattr(config.peft_type, "value", config.peft_type)).lower()


def pipeline_of(model: nn.Module) -> str | None:
    """The hub's word for what a model does."""
    return _PIPELINES.get(auto_class(model))


def auto_class(model: nn.Module) -> str:
    """The auto class of transformers that loads a model's kind."""
    root = root_of(model)
    name = type(root).__name__
    if is_classifier(root):
        return (
            "AutoModelForImageClassification" if "ImageClassification" in name else "AutoModelForSequenceClassification"
        )
    if getattr(root, "can_generate", lambda: False)():
        encoder_decoder = getattr(getattr(root, "config", None), "is_encoder_decoder", False)
        return "AutoModelForSeq2SeqLM" if encoder_decoder else "AutoModelForCausalLM"
    return "AutoModel"
