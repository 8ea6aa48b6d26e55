"""The A/A check: the base compared with itself, beside the tuned model and before.

A share of the items is repeated on the very side that the tuned model is compared with. A base that was changed by an
adapter's initialisation, another template, dtype or attention would show here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from retain.data.batches import Batching
from retain.data.preprocess import Preprocessor
from retain.evaluate.held_out import Window, base_twice
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, collect_predictions
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events
from retain.hf.models.inference import padding_id
from retain.records.verdicts import AACheck

REPEATED_COMPLETELY = 200
"""Suites whose items depend on one another are repeated completely, up to so many items."""

WINDOWS = 2
"""Windows of held-out text that the base reads twice."""

KL_AT_MOST = 1e-3
"""Nats a token between two readings of the same text by the same base, in the same batch."""

ROUNDING = {"float32": 1e-3, "float64": 1e-3}
ROUNDING_OF_16_BITS = 0.05
"""Mean difference of scores with degrees, relative to a score's size where that is above 1, that rounding may make."""


CHANGED = "The base answered otherwise than before: the two sides were not measured alike."


def run_aa_check(
    pair: Pair,
    preprocessor: Preprocessor,
    suites: Sequence[Suite],
    settings: Settings,
    scores: Mapping[str, Sequence[Mapping[str, float]]],
    events: Events,
    windows: Sequence[Window] = (),
    *,
    batching: Batching = "padded",
) -> AACheck | None:
    """Repeat some items on the base and compare; None where that is not wished (`aa_items` 0).

    Args:
        pair: base and tuned model.
        preprocessor: makes inputs.
        suites: the items.
        settings: those that the items were measured with.
        scores: by suite, the scores of the first answers of the base, in the order of the items.
        events: receives the progress.
        windows: held-out text, of which the base reads a little twice.
        batching: which items were read together the first time.
    """
    if not settings.aa_items:
        return None
    divergence = None
    if windows and preprocessor.reads_text:
        divergence = base_twice(pair, windows[:WINDOWS], padding_id(preprocessor.tokenizer))

    def again(few: Sequence[Suite]) -> Predictions:
        label = "the base answers again"
        with pair.base() as model:
            return collect_predictions(model, preprocessor, few, settings, events, label, batching=batching)

    found = repeat_items(again, suites, settings, scores)
    same = divergence is None or divergence <= KL_AT_MOST
    note = found.note if same else CHANGED
    if divergence is None and not found.items:
        note = "Nothing could be repeated."
    return found.model_copy(update={"kl_max_nats": divergence, "passed": found.passed and same, "note": note})


def repeat_items(
    again: Callable[[Sequence[Suite]], Predictions],
    suites: Sequence[Suite],
    settings: Settings,
    scores: Mapping[str, Sequence[Mapping[str, float]]],
) -> AACheck:
    """Put some items to a side a second time and compare the scores.

    Args:
        again: the side's predictions on a few items of each suite.
        suites: all items.
        settings: say how many are repeated.
        scores: by suite, the scores of the first answers, in the order of the items.
    """
    chosen = {suite.name: _places(suite, settings.aa_items) for suite in suites}
    few = [
        replace(
            suite,
            items=[suite.items[k] for k in chosen[suite.name]],
            options={**suite.options, **task_type_of(suite).aa_options},
        )
        for suite in suites
        if chosen.get(suite.name)
    ]
    if not few:
        return AACheck(items=0, changed=0, score_difference_max=0.0, passed=True)
    repeated_answers = again(few)
    short = repeated_answers.conditions.dtype not in ROUNDING
    changed, repeated, allowed = 0, 0, 0.0
    largest = 0.0
    moved: list[float] = []
    for suite in few:
        task_type = task_type_of(suite)
        allowed += len(suite.items) * task_type.changes_allowed(in_16_bits=short)
        metrics = [metric.name for metric in task_type.metrics(suite) if metric.right_or_wrong]
        for place, (k, response) in enumerate(
            zip(chosen[suite.name], repeated_answers.responses[suite.name], strict=True)
        ):
            now = task_type.score(suite, place, response)
            first = scores[suite.name][k]
            binary = [name for name in metrics if name in now]
            shared = [name for name in now if name in first and name not in binary]
            repeated += 1
            changed += any(now[name] != first[name] for name in binary)
            largest = max([largest, *(abs(now[name] - first[name]) for name in shared)])
            moved += [abs(now[name] - first[name]) / max(1.0, abs(first[name])) for name in shared]
    rounding = ROUNDING.get(repeated_answers.conditions.dtype, ROUNDING_OF_16_BITS)
    passed = changed <= max(1, allowed) and sum(moved) <= rounding * len(moved)
    turned = f"{changed} of {repeated} scores turned by rounding: the batches are of other items than the first time."
    note = (turned if changed else "") if passed else CHANGED
    return AACheck(items=repeated, changed=changed, score_difference_max=largest, passed=passed, note=note)


def _places(suite: Suite, count: int) -> list[int]:
    """The items that are repeated: some, spread over the suite; all or none where they depend on one another."""
    n = len(suite.items)
    if not task_type_of(suite).items_are_independent:
        return list(range(n)) if count and n <= REPEATED_COMPLETELY else []
    return sorted({int(place * n / min(count, n)) for place in range(min(count, n))}) if n and count else []
