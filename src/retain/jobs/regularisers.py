"""The means of a recipe as callbacks of the training, and the rows that replay adds to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import TrainerCallback

from retain.data.preprocess import Preprocessor, TextPreprocessor
from retain.data.tokens import pad
from retain.hf.models.inference import padding_id
from retain.recipe import KL, Recipe
from retain.train.loop import Lessons
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty
from retain.train.regularise.replay import mix_replay
from retain.train.regularise.update_limit import UpdateLimit

AIM = 0.7
"""Share of the budget's KL that training aims at: the certificate's bound lies above what is observed."""

PROBES = 8
"""Sequences (or images) to keep that are watched, and not trained with the KL penalty or replayed."""

LONGEST = 128
"""Tokens of a sequence to keep that are trained with the KL penalty or watched at most: an trained with the KL penalty batch should cost less than a step."""


def with_regularisers(
    lessons: Lessons, rows: Sequence[Any], recipe: Recipe, preprocessor: Preprocessor, teacher: Any = None
) -> tuple[Lessons, list[TrainerCallback]]:
    """Add what the recipe says against forgetting to a training.

    Args:
        lessons: what is to be learned.
        rows: text to keep as token ids, or images; empty where no means reads it.
        recipe: names the means.
        preprocessor: makes the model's inputs.
        teacher: the base as a model of its own, where it is not inside the model.

    Returns:
        The lessons, with replayed rows among them, and the callbacks.
    """
    order = list(rows)
    random.Random(recipe.seed).shuffle(order)  # noqa: S311 -- which texts are used, not a secret
    probes, kept = (order[:PROBES], order[PROBES:] or order) if recipe.kl_monitor else ([], order)
    callbacks: list[TrainerCallback] = []
    limit = recipe.budget.get(KL)
    if recipe.kl_weight:
        batches = _batches(kept, max(1, recipe.batch_size // 2), preprocessor)
        if recipe.kl_weight == "budget":
            callbacks.append(KLPenalty(batches, limit=AIM * (limit or 0.0), teacher=teacher, seed=recipe.seed))
        else:
            callbacks.append(KLPenalty(batches, weight=float(recipe.kl_weight), teacher=teacher, seed=recipe.seed))
    if recipe.update_limit:
        inputs = _batches(kept, recipe.batch_size, preprocessor)[:1] if recipe.update_unit == "f_delta" else None
        callbacks.append(UpdateLimit(recipe.update_limit, unit=recipe.update_unit, batches=inputs, seed=recipe.seed))
    if recipe.kl_monitor:
        callbacks.append(KLMonitor(_batches(probes, PROBES // 2, preprocessor), limit=limit, teacher=teacher))
    if recipe.replay:
        replayed = [{"input_ids": list(ids), "labels": list(ids)} for ids in kept]
        lessons = replace(lessons, rows=mix_replay(lessons.rows, replayed, recipe.replay, recipe.seed))
    return lessons, callbacks


def _batches(rows: Sequence[Any], size: int, preprocessor: Preprocessor) -> list[dict[str, Any]]:
    """Model inputs of the text or images to keep; sequences of like length together."""
    if not isinstance(preprocessor, TextPreprocessor):
        return [dict(preprocessor.batch(rows[start : start + size])) for start in range(0, len(rows), size)]
    cut = sorted((list(ids)[:LONGEST] for ids in rows if len(ids) > 1), key=len)
    parts = [cut[start : start + size] for start in range(0, len(cut), size)]
    return [
        {
            "input_ids": torch.tensor(pad(part, padding_id(preprocessor.tokenizer))),
            "attention_mask": torch.tensor(pad([[1] * len(ids) for ids in part], 0)),
        }
        for part in parts
    ]
