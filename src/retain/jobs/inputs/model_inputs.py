"""What a model reads, by its type alone: data of another kind are refused in words of models and data."""

from __future__ import annotations

from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES,
    MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from retain.data.family import Family, Modality, in_words, modality_of

_LOADED: dict[Family, Any] = {
    "causal-lm": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "text-classifier": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "image-classifier": MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
}
"""The types that transformers loads as a family; any as a model of features."""

_READERS: dict[Modality, set[str]] = {
    "text": {
        *MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    },
    "image": {*IMAGE_PROCESSOR_MAPPING_NAMES, *MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES},
}
_READERS["text"] |= {kind for kind in _READERS["image"] if TOKENIZER_MAPPING_NAMES.get(kind) is not None}
_BOTH = {
    *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    *MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES,
    *MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES,
}
"""The types that read texts, images, or both together."""

_TOWERS: dict[Modality, str] = {"text": "text_config", "image": "vision_config"}
"""What a configuration has of a model with several towers, such as an encoder of texts, images and sound."""

_SUCH: dict[Family, str] = {
    "causal-lm": "a decoder (Llama, Qwen, GPT-2, Mamba)",
    "text-classifier": "a model of text (BERT, RoBERTa, Llama)",
    "text-features": "a model of text (BERT, RoBERTa, Llama)",
    "image-classifier": "a model of images (ViT, Swin, ConvNeXt)",
    "image-features": "a model of images (ViT, Swin, ConvNeXt)",
}
"""Models to try, by family."""


def input_problem(config: Any, family: Family, field: str, name: str) -> str | None:
    """A sentence where a model of a type that transformers knows does not read the data or has no such head; else None.

    Args:
        config: transformers'; one that brings its own code may load as anything.
        family: what the model is to be.
        field: where it was given.
        name: folder or hub id.
    """
    if not _is_foreign(config, family):
        return None
    if (problem := data_problem(config, family, field, name)) or family not in _LOADED:
        return problem
    kind, cure = config.model_type, f"give {_SUCH[family]}"
    joins = kind in MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    which = ", which compares images with texts," if joins else ""
    if family == "causal-lm" and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not joins:
        which, cure = ", an encoder,", f"{cure}, or data that an encoder learns: labelled texts"
    why = ": CLIP and its kin learn images with their classes only" if joins else ""
    return f"{field}: transformers cannot load {name} ({kind}){which} as {in_words(family)}{why}; {cure}."


def data_problem(config: Any, family: Family, field: str, name: str) -> str | None:
    """A sentence where a model of a type that transformers knows reads images alone and the data are texts, or so.

    The arguments are those of `input_problem`.
    """
    kind, wanted = config.model_type, modality_of(family)
    reads: set[Modality] = {one for one, kinds in _READERS.items() if kind in kinds or kind in _BOTH}
    reads |= {one for one, name in _TOWERS.items() if getattr(config, name, None) is not None}
    if len(reads) != 1 or wanted in reads or not _is_foreign(config, family):
        return None
    (other,) = reads
    return (
        f"{field}: {name} ({kind}) reads {other}s, and the data are {wanted}s; give {_SUCH[family]}, or data of "
        f"{other}s."
    )


def _is_foreign(config: Any, family: Family) -> bool:
    """True for a type that transformers knows and does not load as a family; one of own code may be anything."""
    kind = config.model_type
    return (
        kind in CONFIG_MAPPING_NAMES and kind not in _LOADED.get(family, ()) and not getattr(config, "auto_map", None)
    )
