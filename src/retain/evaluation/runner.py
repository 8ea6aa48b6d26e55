"""The measurement itself: both sides' answers, the reference text, the movement of the weights, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import Progress

from retain.data.tokens import reference_windows
from retain.evaluation.answers import Answers, collect_answers
from retain.evaluation.compare import all_items, keep_scores, task_scores
from retain.evaluation.metrics.drift import drift_summary
from retain.evaluation.movement import Movement, measure_movement
from retain.evaluation.pair import Pair
from retain.evaluation.reference import WindowSums, read_reference
from retain.evaluation.scoring import padding_id
from retain.evaluation.suites import Settings, Suites
from retain.results import Drift, Item, KeepScore, TaskScore


@dataclass(frozen=True)
class Measured:
    """What was learned, what was lost, how far the model moved, and every item behind it."""

    task: tuple[TaskScore, ...]
    keep: tuple[KeepScore, ...]
    drift: Drift
    items: tuple[Item, ...]
    notes: tuple[str, ...]


def measure_pair(
    pair: Pair,
    tokenizer: Any,
    suites: Suites,
    settings: Settings,
    progress: Progress,
    base_answers: Answers | None = None,
) -> Measured:
    """Measure tuned against base on the same items, put in the same way.

    Args:
        pair: the two sides.
        tokenizer: that of the base; both sides read the same tokens.
        suites: the items.
        settings: how they are put.
        progress: display for progress bars.
        base_answers: the untouched base's answers, where they were collected before.
    """
    if base_answers is None:
        with pair.base() as model:
            base_answers = collect_answers(model, tokenizer, suites, settings, progress, "the base answers")
    with pair.tuned() as model:
        tuned_answers = collect_answers(model, tokenizer, suites, settings, progress, "the tuned model answers")
    windows = reference_windows(tokenizer, suites.reference, settings.window, settings.reference_tokens)
    sums = read_reference(pair, windows, padding_id(tokenizer), progress) if windows else WindowSums()
    moved = measure_movement(pair, windows, progress)
    texts = [tokenizer.decode(window) for window in windows]
    notes = [
        f"{cut} items of {name} were longer than {settings.max_length} tokens and were cut."
        for name, cut in base_answers.truncated.items()
        if cut
    ]
    return Measured(
        task=task_scores(suites, settings, base_answers, tuned_answers),
        keep=keep_scores(suites, settings, base_answers, tuned_answers),
        drift=_drift(sums, moved, settings),
        items=tuple(all_items(suites, base_answers, tuned_answers, texts, sums)),
        notes=tuple(notes),
    )


def _drift(sums: WindowSums, moved: Movement, settings: Settings) -> Drift:
    weights = {
        "update_relative_frobenius": moved.relative_frobenius,
        "f_delta": moved.f_delta,
        "note": moved.note,
    }
    if not sums.tokens:
        return Drift(**weights)
    text = drift_summary(
        sums.column("base_nll"),
        sums.column("tuned_nll"),
        sums.column("kl"),
        sums.column("churn"),
        sums.column("tokens"),
        np.random.default_rng(settings.seed),
    )
    return text.model_copy(update=weights)
