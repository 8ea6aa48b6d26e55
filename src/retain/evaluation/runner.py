"""The measurement itself: both sides' answers, the reference text, the movement of the model, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import Progress

from retain.data.examples import Example
from retain.data.readers import Reader, TextReader
from retain.data.tokens import encode_example
from retain.errors import RetainError
from retain.evaluation import compare
from retain.evaluation.answers import Answers, collect_answers
from retain.evaluation.drift.measure import measure_drift
from retain.evaluation.judging import judge_record
from retain.evaluation.metrics.drift import drift_summary
from retain.evaluation.null_check import check_null
from retain.evaluation.pair import Pair
from retain.evaluation.reference import Window, WindowSums, read_windows, windows_of
from retain.evaluation.refusals import judged_by
from retain.evaluation.scoring import padding_id
from retain.evaluation.shifts import measured_shifts
from retain.evaluation.suites import Settings, Suite, Suites
from retain.results import (
    Breakdown,
    Calibration,
    Conditions,
    Drift,
    Item,
    Judgement,
    KeepScore,
    Shift,
    SuiteFacts,
    TaskScore,
)

DRIFT_ITEMS = 8
"""Items of the task, and of a keep suite, whose layer inputs and hidden states are looked at."""


@dataclass(frozen=True)
class Measured:
    """What was learned, what was lost, how far the model moved, and every item behind it."""

    judgement: Judgement
    task: tuple[TaskScore, ...]
    keep: tuple[KeepScore, ...]
    breakdowns: tuple[Breakdown, ...]
    shifts: tuple[Shift, ...]
    calibration: tuple[Calibration, ...]
    drift: Drift
    conditions: dict[Literal["base", "tuned"], Conditions]
    suites: tuple[SuiteFacts, ...]
    tolerances: tuple[float, float]
    items: tuple[Item, ...]
    notes: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """The record's fields that the measurement fills."""
        names = (
            "judgement",
            "tolerances",
            "task",
            "keep",
            "breakdowns",
            "shifts",
            "calibration",
            "drift",
            "conditions",
            "suites",
        )
        return {name: getattr(self, name) for name in names}


def measure_pair(
    pair: Pair,
    reader: Reader,
    suites: Suites,
    settings: Settings,
    progress: Progress,
    base_answers: Answers | None = None,
) -> Measured:
    """Measure tuned against base on the same items, put in the same way.

    Args:
        pair: the two sides.
        reader: that of the base; both sides read the same inputs.
        suites: the items.
        settings: how they are put.
        progress: display for progress bars.
        base_answers: the untouched base's answers, where they were collected before.

    Raises:
        RetainError: the two sides were not asked alike; nothing may be compared then.
    """
    base = base_answers
    if base is None:
        with pair.base() as model:
            base = collect_answers(model, reader, suites.all, settings, progress, "the base answers")
    with pair.tuned() as model:
        tuned = collect_answers(model, reader, suites.all, settings, progress, "the tuned model answers")
    _check_alike(base.conditions, tuned.conditions)
    windows, texts, sums = _reference(pair, reader, suites, settings, progress)
    null = check_null(pair, reader, suites.all, settings, base, progress, windows)
    drift = _drift(pair, reader, suites, settings, (windows, sums), progress)
    tasks, keeps = suites.of("task"), suites.of("keep")
    items = [item for suite in suites.all for item in compare.suite_items(suite, base, tuned)]
    items += compare.reference_items(windows, texts, sums)
    task = [score for suite in tasks for score in compare.task_scores(suite, settings, base, tuned)]
    keep = [score for suite in keeps for score in compare.keep_scores(suite, settings, base, tuned)]
    facts = tuple(_facts(suite, settings) for suite in suites.all)
    return Measured(
        judgement=judge_record(
            task, keep, items, tolerance=settings.tolerance, tolerance_nats=settings.tolerance_nats, null_check=null
        ),
        task=tuple(task),
        keep=tuple(keep),
        breakdowns=(
            *(part for suite in suites.all for part in compare.breakdowns(suite, settings, base, tuned)),
            *compare.genres(windows, sums, settings),
        ),
        shifts=tuple(measured_shifts(items, facts, settings.seed)),
        calibration=tuple(part for suite in suites.all for part in compare.calibrations(suite, base, tuned)),
        drift=drift,
        conditions={"base": base.conditions, "tuned": tuned.conditions},
        suites=facts,
        tolerances=(settings.tolerance, settings.tolerance_nats),
        items=tuple(items),
        notes=tuple(_notes(base, settings)),
    )


def _check_alike(base: Conditions, tuned: Conditions) -> None:
    unlike = [name for name in Conditions.model_fields if getattr(base, name) != getattr(tuned, name)]
    if unlike:
        told = "; ".join(f"{name}: base {getattr(base, name)}, tuned {getattr(tuned, name)}" for name in unlike)
        raise RetainError(
            f"base and tuned model were not asked alike ({told}), so they cannot be compared: load both with the same "
            "dtype, attention and device, and give both the same tokenizer. Where only questions_hash differs, "
            "see that both name the same eos_token_id in their generation_config."
        )


def _notes(base: Answers, settings: Settings) -> list[str]:
    return [
        f"{cut} items of {name} were longer than {settings.max_length} tokens and were cut."
        for name, cut in base.truncated.items()
        if cut
    ]


def _facts(suite: Suite, settings: Settings) -> SuiteFacts:
    known = {name: value for name, value in suite.facts.items() if name in SuiteFacts.model_fields}
    if suite.kind == "refusal":
        known["detector_error"] = judged_by(settings.judge)
    return SuiteFacts(**{**known, "name": suite.name, "kind": suite.kind, "part": suite.part})


def _reference(
    pair: Pair, reader: Reader, suites: Suites, settings: Settings, progress: Progress
) -> tuple[list[Window], list[str], WindowSums]:
    """Windows of reference text, the tokens shared evenly by its genres; their text; what both models made of them."""
    if not suites.reference or not isinstance(reader, TextReader):
        return [], [], WindowSums()
    tokenizer = reader.tokenizer
    windows = windows_of(tokenizer, suites.reference, settings)
    sums = WindowSums()
    if windows:
        sums = read_windows(pair, windows, padding_id(tokenizer), progress, "reference text, both models")
    return windows, [tokenizer.decode(window.ids) for window in windows], sums


def _drift(
    pair: Pair,
    reader: Reader,
    suites: Suites,
    settings: Settings,
    reference: tuple[list[Window], WindowSums],
    progress: Progress,
) -> Drift:
    windows, sums = reference
    found = Drift()
    if sums.tokens:
        found = _summary(sums, settings)
    update = _task_kl(pair, reader, suites, settings, progress)
    if settings.drift:
        keep = [_window_batch(window) for window in windows[:2]] or _batches(reader, suites.of("keep"), settings)
        moved = measure_drift(pair, keep, _batches(reader, suites.of("task"), settings), progress)
        note = " ".join(filter(None, (found.note, moved.note)))
        update |= {**moved.fields(), "note": note}
    return found.model_copy(update=update)


def _summary(sums: WindowSums, settings: Settings) -> Drift:
    return drift_summary(
        sums.column("base_nll"),
        sums.column("tuned_nll"),
        sums.column("kl"),
        sums.column("churn"),
        sums.column("tokens"),
        np.random.default_rng(settings.seed),
    )


def _window_batch(window: Window) -> dict[str, Any]:
    ids = torch.tensor([list(window.ids)])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _batches(reader: Reader, suites: Sequence[Suite], settings: Settings) -> list[dict[str, Any]]:
    """The first items of the first suite that can be read, as the model's inputs."""
    for suite in suites:
        items = suite.items[:DRIFT_ITEMS]
        examples = [item for item in items if isinstance(item, Example)]
        if examples and isinstance(reader, TextReader):
            rows = [encode_example(reader.tokenizer, example, settings.max_length) for example in examples]
            return [_window_batch(Window(row.ids)) for row in rows]
        if items and suite.kind in {"labels", "neighbours"}:
            return [reader.batch(items)]  # type: ignore[arg-type]  # the forms of these kinds are the reader's
    return []


def _task_kl(pair: Pair, reader: Reader, suites: Suites, settings: Settings, progress: Progress) -> dict[str, Any]:
    """KL(base ‖ tuned) on the task's own items, where the model predicts their answers."""
    examples = [item for item in suites.task_items if isinstance(item, Example)]
    if not examples or not isinstance(reader, TextReader) or settings.task_tokens < 1:
        return {}
    windows, room = [], settings.task_tokens
    for item in examples:
        row = encode_example(reader.tokenizer, item, settings.max_length)
        if room <= 0:
            break
        windows.append(Window(row.ids))
        room -= len(row.ids)
    sums = read_windows(pair, windows, padding_id(reader.tokenizer), progress, "the task's text, both models")
    found = _summary(sums, settings)
    return {"kl_task_nats_per_token": found.kl_nats_per_token, "kl_task_interval": found.kl_interval}
