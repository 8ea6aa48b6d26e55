"""The batches whose gradients a sparse update is chosen by: of the training data, or of text to learn; and to keep."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from retain.data.preprocess import Inputs
from retain.jobs.calibrate import Calibration
from retain.jobs.inputs.calibration_texts import Texts
from retain.methods.sparse.config import SparseConfig
from retain.recipe import Recipe
from retain.train.loop import TrainingSet
from retain.train.ranks import rank_and_world


def gradient_batches(
    config: SparseConfig,
    recipe: Recipe,
    job: Calibration,
    texts: Mapping[str, Texts],
    learned: Callable[[], TrainingSet],
) -> dict[str, list[Inputs]]:
    """The batches to learn and to keep that a score reads, by those names.

    What is to be learned are batches of the training itself, drawn by the seed: the loss is that of the training. Where
    `calibrate_learn` names text, it is all tokens of that.

    Args:
        config: names the score, how many batches, and the seed.
        recipe: of the run.
        job: reads the texts, or lets the base write what is to be kept.
        texts: by name.
        learned: gives the training set; asked only where it is read.
    """
    batches: dict[str, list[Inputs]] = {}
    size = recipe.batch_size * rank_and_world()[1]  # of a step of all processes, which share the batches out
    if "learn" in config.reads and recipe.calibrate_learn is None:
        batches["learn"] = _drawn(learned(), size, config)
    elif "learn" in config.reads:
        batches["learn"] = _of_rows(job, texts.get("learn"), size, config)[: config.batches]
    if "keep" in config.reads:
        batches["keep"] = _of_rows(job, texts.get("keep"), recipe.calibrate_batch_size, config)
    return batches


def _drawn(training_set: TrainingSet, size: int, config: SparseConfig) -> list[Inputs]:
    rows: Any = training_set.rows
    order = list(range(len(rows)))
    random.Random(config.seed).shuffle(order)  # noqa: S311 -- which rows are read, not a secret
    parts = [order[start : start + size] for start in range(0, len(order), size)][: config.batches]
    return [training_set.collator([rows[index] for index in part]) for part in parts]


def _of_rows(job: Calibration, texts: Texts | None, size: int, config: SparseConfig) -> list[Inputs]:
    preprocessor = job.preprocessor
    batches = preprocessor.row_batches(preprocessor.predicting_rows(job.rows(texts)), size)
    random.Random(config.seed).shuffle(batches)  # noqa: S311 -- they come by length, and a few may be read
    return batches
