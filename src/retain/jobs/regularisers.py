"""The means of a recipe as callbacks of the training, and the rows that replay adds to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import TrainerCallback

from retain.data.preprocess import Reader, TextReader
from retain.data.tokens import pad
from retain.hf.models.inference import padding_id
from retain.recipe import KL, Recipe
from retain.train.loop import Lessons
from retain.train.regularise.kl_monitor import Watch
from retain.train.regularise.kl_penalty import Anchor
from retain.train.regularise.replay import mix
from retain.train.regularise.update_limit import UpdateLimit

AIM = 0.7
"""Share of the budget's KL that training aims at: the certificate's bound lies above what is observed."""

PROBES = 8
"""Sequences (or pictures) to keep that are watched, and not anchored or replayed."""

LONGEST = 128
"""Tokens of a sequence to keep that are anchored or watched at most: an anchored batch should cost less than a step."""


def with_means(
    lessons: Lessons, rows: Sequence[Any], recipe: Recipe, reader: Reader, teacher: Any = None
) -> tuple[Lessons, list[TrainerCallback]]:
    """Add what the recipe says against forgetting to a training.

    Args:
        lessons: what is to be learned.
        rows: text to keep as token ids, or pictures; empty where no means reads it.
        recipe: names the means.
        reader: makes the model's inputs.
        teacher: the base as a model of its own, where it is not inside the model.

    Returns:
        The lessons, with replayed rows among them, and the callbacks.
    """
    order = list(rows)
    random.Random(recipe.seed).shuffle(order)  # noqa: S311 -- which texts are used, not a secret
    probes, kept = (order[:PROBES], order[PROBES:] or order) if recipe.watch else ([], order)
    callbacks: list[TrainerCallback] = []
    limit = recipe.budget.get(KL)
    if recipe.anchor:
        batches = _batches(kept, max(1, recipe.batch_size // 2), reader)
        if recipe.anchor == "budget":
            callbacks.append(Anchor(batches, limit=AIM * (limit or 0.0), teacher=teacher, seed=recipe.seed))
        else:
            callbacks.append(Anchor(batches, weight=float(recipe.anchor), teacher=teacher, seed=recipe.seed))
    if recipe.update_limit:
        inputs = _batches(kept, recipe.batch_size, reader)[:1] if recipe.update_unit == "f_delta" else None
        callbacks.append(UpdateLimit(recipe.update_limit, unit=recipe.update_unit, batches=inputs, seed=recipe.seed))
    if recipe.watch:
        callbacks.append(Watch(_batches(probes, PROBES // 2, reader), limit=limit, teacher=teacher))
    if recipe.replay:
        replayed = [{"input_ids": list(ids), "labels": list(ids)} for ids in kept]
        lessons = replace(lessons, rows=mix(lessons.rows, replayed, recipe.replay, recipe.seed))
    return lessons, callbacks


def _batches(rows: Sequence[Any], size: int, reader: Reader) -> list[dict[str, Any]]:
    """Model inputs of the text or pictures to keep; sequences of like length together."""
    if not isinstance(reader, TextReader):
        return [dict(reader.batch(rows[start : start + size])) for start in range(0, len(rows), size)]
    cut = sorted((list(ids)[:LONGEST] for ids in rows if len(ids) > 1), key=len)
    parts = [cut[start : start + size] for start in range(0, len(cut), size)]
    return [
        {
            "input_ids": torch.tensor(pad(part, padding_id(reader.tokenizer))),
            "attention_mask": torch.tensor(pad([[1] * len(ids) for ids in part], 0)),
        }
        for part in parts
    ]
