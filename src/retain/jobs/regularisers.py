"""The regularisation of a recipe: callbacks of the training, and the rows that replay adds to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from transformers import TrainerCallback

from retain.data.preprocess import Inputs, Preprocessor
from retain.jobs.inputs.prepare import adapter_fields
from retain.methods import lookup
from retain.recipe import KL, Recipe
from retain.train.loop import TrainingSet
from retain.train.ranks import rank_and_world
from retain.train.regularise.distillation import Distillation
from retain.train.regularise.ewc import EWC
from retain.train.regularise.feature_penalty import FeatureDivergence, FeaturePenalty
from retain.train.regularise.fisher import Fisher
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty
from retain.train.regularise.nuclear_norm import NuclearNorm
from retain.train.regularise.replay import mix_replay
from retain.train.regularise.reselection import Reselection
from retain.train.regularise.update_limit import UpdateLimit

AIM = 0.7
"""Share of the budget's KL that training aims at: the certificate's bound lies above what is observed."""

PROBES = 8
"""Sequences (or images) to keep that the KL monitor measures on; they are neither penalised nor replayed."""

LONGEST = 128
"""Tokens of a sequence to keep, at most, for the KL penalty and the KL monitor: a batch of them should cost less than a
training step."""


def with_regularisers(
    training_set: TrainingSet,
    rows: Sequence[Any],
    recipe: Recipe,
    preprocessor: Preprocessor,
    base: Any = None,
    teacher: Any = None,
    probe: Any = None,
    fisher: Callable[[list[Inputs]], Fisher] | None = None,
) -> tuple[TrainingSet, list[TrainerCallback]]:
    """Add a recipe's regularisation to a training.

    Args:
        training_set: the items to learn.
        rows: text to keep as token ids, or images; empty where no regulariser reads any.
        recipe: names the regularisers.
        preprocessor: makes the model's inputs.
        base: the base as a model of its own, where it is not inside the model.
        teacher: what the KL penalty compares with in place of the base: a model, or cached logits.
        probe: of the feature penalty: its directions and projection.
        fisher: gives the Fisher information on batches of the rows that are kept, for EWC.

    Returns:
        The training set, with replayed rows in it, and the callbacks.
    """
    order = list(range(len(rows)))
    random.Random(recipe.seed).shuffle(order)  # noqa: S311 -- which texts are used, not a secret
    probing, keeping = (order[:PROBES], order[PROBES:] or order) if recipe.kl_monitor else ([], order)
    probes, kept = ([rows[index] for index in part] for part in (probing, keeping))
    callbacks: list[TrainerCallback] = _of_sparse(recipe)
    limit = recipe.budget.get(KL)
    size = recipe.batch_size * rank_and_world()[1]  # the rows of a step of all processes, which share them out
    if recipe.kl_weight:
        batches = _batches(kept, max(1, size // 2), preprocessor) if recipe.kl_on == "keep" else []
        callbacks.append(_penalty(batches, recipe, preprocessor, base if teacher is None else teacher))
    if recipe.ewc and fisher is not None:
        unshuffled = [rows[index] for index in sorted(keeping)]  # so that runs with other seeds share what is measured
        callbacks.append(EWC(fisher(_batches(unshuffled, 1, preprocessor)), weight=recipe.ewc, teacher=base))
    if recipe.feature_weight and probe is not None:
        weight, given = recipe.feature_weight, {"projection": probe.projection, "teacher": base}
        if recipe.keeps_features:
            batches = _batches(kept, max(1, size // 2), preprocessor)
            held = FeatureDivergence(probe.directions, **given)
            callbacks.append(KLPenalty(batches, weight=weight, seed=recipe.seed, divergence=held))
        else:
            callbacks.append(FeaturePenalty(probe.directions, weight=weight, **given))
    if recipe.update_limit:
        inputs = _batches(kept, size, preprocessor)[:1] if recipe.update_unit == "f_delta" else None
        callbacks.append(UpdateLimit(recipe.update_limit, unit=recipe.update_unit, batches=inputs, seed=recipe.seed))
    if recipe.kl_monitor:
        callbacks.append(KLMonitor(_batches(probes, PROBES // 2, preprocessor), limit=limit, teacher=base))
    if recipe.replay:
        replayed = [{"input_ids": list(ids), "labels": list(ids)} for ids in kept]
        mixed = mix_replay(training_set.rows, replayed, recipe.replay, recipe.seed)
        training_set = replace(training_set, rows=mixed)
    return training_set, callbacks


def _of_sparse(recipe: Recipe) -> list[TrainerCallback]:
    """What SaRA adds to the training of a sparse update; nothing for any other method."""
    if not lookup.is_sparse(recipe.method_name):
        return []
    config = lookup.sparse_config(adapter_fields(recipe))
    found: list[TrainerCallback] = []
    if config.nuclear_weight:
        found.append(NuclearNorm(config.nuclear_weight, seed=config.seed))
    if config.reselect_after is not None:
        found.append(Reselection(config.reselect_after))
    return found


def _penalty(batches: list[Inputs], recipe: Recipe, preprocessor: Preprocessor, teacher: Any) -> TrainerCallback:
    """The KL penalty of a recipe: on batches to keep, or without any on each step's own."""
    how: dict[str, Any] = {
        "task_weight": recipe.task_weight,
        "temperature": recipe.kl_temperature,
        "vocabulary": None if preprocessor.tokenizer is None else len(preprocessor.tokenizer),
    }
    if recipe.kl_on == "batch":
        return Distillation(teacher, weight=float(recipe.kl_weight or 0.0), **how)
    if recipe.kl_weight == "budget":
        limit = AIM * (recipe.budget.get(KL) or 0.0)
        return KLPenalty(batches, limit=limit, teacher=teacher, seed=recipe.seed, **how)
    return KLPenalty(batches, weight=float(recipe.kl_weight or 0.0), teacher=teacher, seed=recipe.seed, **how)


def _batches(rows: Sequence[Any], size: int, preprocessor: Preprocessor) -> list[Inputs]:
    """Model inputs of the text or images to keep that a model predicts anything of."""
    return preprocessor.row_batches(preprocessor.predicting_rows(rows), size, LONGEST)
