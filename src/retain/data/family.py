"""The classes of models: what they read, what they give, and what Transformers loads them as."""

from __future__ import annotations

from typing import Literal

Modality = Literal["text", "image"]
"""The input that a model reads."""

Head = Literal["causal-lm", "classifier", "features"]
"""The output that a model gives: the next token, a class, or hidden states alone."""

Family = Literal["causal-lm", "text-classifier", "image-classifier", "text-features", "image-features"]
"""The class that a model is loaded as; the data choose it."""

_FAMILIES: dict[tuple[Head, Modality], Family] = {
    ("causal-lm", "text"): "causal-lm",
    ("classifier", "text"): "text-classifier",
    ("classifier", "image"): "image-classifier",
    ("features", "text"): "text-features",
    ("features", "image"): "image-features",
}
_PARTS = {family: parts for parts, family in _FAMILIES.items()}


def family_for(head: Head, modality: Modality) -> Family:
    """The family of models that read this modality and have this head; language models read text alone."""
    return "causal-lm" if head == "causal-lm" else _FAMILIES[head, modality]


def modality_of(family: Family) -> Modality:
    """The modality that a family reads."""
    return _PARTS[family][1]


def provides(family: Family, head: Head) -> bool:
    """True where models of a family have such a head; every model has features."""
    return head in {"features", _PARTS[family][0]}


def in_words(family: Family) -> str:
    """A family with its article, for messages."""
    if family.endswith("features"):
        return f"a model of {family.replace('-', ' ')}"
    return f"{'an' if family.startswith('image') else 'a'} {family.replace('-', ' ')}"
