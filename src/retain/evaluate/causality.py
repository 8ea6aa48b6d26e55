"""Whether a language model reads from left to right: what it expects at a place must not depend on what comes after."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from retain.data.family import Family
from retain.evaluate.alike import KEEPS_NOTHING, differ
from retain.evaluate.generate import read_logits
from retain.hf.models.inference import device_of

TEXTS = ((3, 5, 7, 11), (3, 5, 7, 13))
"""Two texts of token ids that differ in their last token."""


def looks_ahead(model: Any) -> bool:
    """Tell whether the logits (V,) of a place change with the tokens after it, as those of an encoder do.

    Likelihoods by such a model mean nothing: it is shown every token that it is asked for.

    Args:
        model: a language model.

    Returns:
        False also where it was not tried: weights that lie on the disk, a model that cannot read four tokens.

    Examples:
        >>> looks_ahead(model)
        False
    """
    if any(parameter.device.type == "meta" for parameter in model.parameters()):
        return False
    try:
        texts = torch.tensor(TEXTS, device=device_of(model)) % model.config.get_text_config().vocab_size
        if torch.equal(texts[0], texts[1]):
            return False
        one, other = read_logits(model, texts, torch.ones_like(texts))[:, :-1]
    except KEEPS_NOTHING:
        return False
    return differ(one, other, model)


def other_reader(config: Any, family: Family, field: str, name: str) -> str | None:
    """A sentence where a configuration says that a model reads text otherwise than its family does; else None.

    Args:
        config: transformers'; an encoder (BERT, RoBERTa) predicts text only if it says `is_decoder`.
        family: what the model is to be.
        field: where it was given.
        name: folder or hub id.
    """
    if problem := encoder_decoder(config, family, field, name):
        return problem
    encodes = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", True)
    return not_causal(field, name, config.model_type) if encodes and family == "causal-lm" else None


def encoder_decoder(config: Any, family: Family, field: str, name: str) -> str | None:
    """A sentence where a model that is no classifier reads with an encoder and writes with a decoder; else None.

    The arguments are those of `other_reader`.
    """
    if not getattr(config, "is_encoder_decoder", False) or family not in {"causal-lm", "text-features"}:
        return None
    return (
        f"{field}: {name} is an encoder-decoder ({config.model_type}), and retain does not support these (T5, BART and "
        "their kin); give a decoder-only language model (Llama, Qwen, GPT-2, Mamba), or an encoder (BERT, RoBERTa) for "
        "labelled texts."
    )


def not_causal(field: str, name: str, kind: str) -> str:
    """The sentence on a model that looks ahead.

    Args:
        field: where it was given.
        name: folder, hub id or class.
        kind: its `model_type`.
    """
    return (
        f"{field}: {name} ({kind}) reads each token with those after it, as encoders do, so it cannot be asked what "
        "comes next; give a decoder (Llama, Qwen, GPT-2, Mamba), or data that an encoder learns: labelled texts. If it "
        "was trained as a decoder, its config.json should say is_decoder: true."
    )
