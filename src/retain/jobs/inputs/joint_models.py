"""A base with a text tower beside that of its images (CLIP, SigLIP), for the directions of a feature penalty."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModel, AutoTokenizer

from retain.data.family import Family
from retain.errors import InputError
from retain.hf.models.precision import weights_dtype
from retain.jobs.inputs.loading import device_of
from retain.jobs.inputs.model_sources import located, not_loaded
from retain.recipe import Recipe

_REASONS = (OSError, ValueError, KeyError, ImportError, RuntimeError)
"""What transformers raises where it cannot load something."""


def has_joint_files(recipe: Recipe) -> bool:
    """Tell by its configuration whether a recipe's model has a tower for text beside one for images."""
    try:
        config = AutoConfig.from_pretrained(located(recipe.model), trust_remote_code=recipe.trust_remote_code)
    except (*_REASONS, InputError):  # told elsewhere
        return False
    return all(
        hasattr(config, name) for name in ("text_config", "vision_config", "projection_dim", "logit_scale_init_value")
    )


def load_joint(recipe: Recipe) -> tuple[Any, Any]:
    """Load both towers and the tokenizer of a recipe's model.

    Raises:
        InputError: they are not there in full.
    """
    place, trust = located(recipe.model), recipe.trust_remote_code
    try:
        model, report = AutoModel.from_pretrained(
            place,
            dtype=weights_dtype(recipe.dtype, device_of(recipe)),
            trust_remote_code=trust,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trust)
    except _REASONS as error:
        raise InputError(
            f"feature_probe: {not_loaded(recipe.model, 'text tower', 'AutoModel', str(error)[:300])}"
        ) from error
    if report["missing_keys"]:
        raise InputError(
            f"feature_probe: the files of {recipe.model} hold no text tower, or a part of one "
            f"({min(report['missing_keys'])} is missing); say --feature-probe centres."
        )
    return model.eval(), tokenizer


def probe_problems(recipe: Recipe, family: Family) -> list[str]:
    """A sentence for each reason against the feature penalty of a recipe."""
    if not recipe.feature_weight:
        return []
    if not family.endswith("classifier"):
        told = "a feature penalty is for encoders and vision models; hold a language model's predictions"
        return [f"feature_weight: {told} with --kl-weight."]
    if recipe.feature_probe == "text" and not has_joint_files(recipe):
        told = "has no text tower beside that of its images, as CLIP and SigLIP have"
        return [f"feature_probe: {recipe.model} {told}; say --feature-probe centres."]
    return []
