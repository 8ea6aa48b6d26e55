"""The base put to itself: what it answers now, beside the tuned model, is what it answered before.

A share of the items is asked again of the very side that the tuned model is compared with. A base that was changed by
an adapter's start, another template, dtype or attention would show here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.progress import Progress

from retain.data.readers import Reader
from retain.evaluation.answers import Answers, collect_answers
from retain.evaluation.kinds.table import KINDS
from retain.evaluation.pair import Pair
from retain.evaluation.suites import Settings, Suite
from retain.results import NullCheck

ASKED_ALONE = frozenset({"completion", "choice", "question", "labels", "refusal"})
"""Kinds whose items do not depend on one another."""

CHANGED_AT_MOST = 0.02
"""Share of right-or-wrong scores that rounding may turn: batches are made of other items than the first time."""

ROUNDING = {"float32": 1e-3, "float64": 1e-3}
ROUNDING_OF_16_BITS = 0.05
"""Mean difference of scores with degrees, relative to a score's size where that is above 1, that rounding may make."""


def check_null(
    pair: Pair, reader: Reader, suites: Sequence[Suite], settings: Settings, answers: Answers, progress: Progress
) -> NullCheck | None:
    """Ask the base again and compare; None where there is nothing to ask.

    Args:
        pair: base and tuned model.
        reader: makes inputs.
        suites: what was asked.
        settings: how it was asked.
        answers: what the base answered first.
        progress: display.
    """
    chosen = {suite.name: _places(suite, settings.null_items) for suite in suites if suite.kind in ASKED_ALONE}
    few = [
        replace(suite, items=[suite.items[k] for k in chosen[suite.name]], options={**suite.options, "generate": 0})
        for suite in suites
        if chosen.get(suite.name)
    ]
    if not few:
        return None
    with pair.base() as model:
        again = collect_answers(model, reader, few, settings, progress, "the base is asked again")
    changed = asked = 0
    largest = 0.0
    moved: list[float] = []
    for suite in few:
        kind = KINDS[suite.kind]
        for place, (k, response) in enumerate(zip(chosen[suite.name], again.responses[suite.name], strict=True)):
            now = kind.score(suite, place, response)
            first = kind.score(suite, place, answers.responses[suite.name][k])
            binary = [metric.name for metric in kind.metrics(suite) if metric.right_or_wrong and metric.name in now]
            shared = [name for name in now if name in first and name not in binary]
            asked += 1
            changed += any(now[name] != first[name] for name in binary)
            largest = max([largest, *(abs(now[name] - first[name]) for name in shared)])
            moved += [abs(now[name] - first[name]) / max(1.0, abs(first[name])) for name in shared]
    rounding = ROUNDING.get(again.conditions.dtype, ROUNDING_OF_16_BITS)
    passed = changed <= max(1, CHANGED_AT_MOST * asked) and sum(moved) <= rounding * len(moved)
    note = "" if passed else "The base answered otherwise than before: the two sides were not asked alike."
    return NullCheck(items=asked, changed=changed, score_difference_max=largest, passed=passed, note=note)


def _places(suite: Suite, count: int) -> list[int]:
    n = len(suite.items)
    return sorted({int(place * n / min(count, n)) for place in range(min(count, n))}) if n and count else []
