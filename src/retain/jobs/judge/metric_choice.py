"""The metric that judges a suite: the one that is asked for, else the first that all items have on both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from retain.jobs.judge.logs import Answer, counted, named
from retain.jobs.judge.pairing import PairedSuite
from retain.records.metric import Metric
from retain.records.outside_metrics import SHARES, Seen, family_of, outside_metric

ANY_SUITE = ""
"""The name under which a metric stands that is asked for of every suite that has it."""


@dataclass(frozen=True)
class Wishes:
    """What is asked of metrics.

    Attributes:
        metrics: the metric of a suite, by suite; under `ANY_SUITE` that of all which have it.
        ranges: smallest and largest value, by metric.
        lower_is_better: metrics of which less is better, where the log does not say so.
    """

    metrics: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lower_is_better: tuple[str, ...] = ()


def metric_of(suite: PairedSuite, wishes: Wishes, problems: list[str]) -> Metric | None:
    """The metric that judges a suite; None where there is none.

    Args:
        suite: both sides.
        wishes: what was asked for.
        problems: receives a sentence for each reason why there is none.
    """
    name = _name(suite, wishes, problems)
    if name is None:
        return None
    before = len(problems)
    problems += _missing(suite, name) or [
        gap
        for side, answers in zip(("base", "tuned"), zip(*suite.pairs, strict=True), strict=True)
        for gap in _gaps(suite.name, side, name, answers)
    ]
    if len(problems) > before:
        return None
    metric = _declared(suite, name, wishes)
    if metric.higher_is_better and _asked_for_less(name, wishes):
        problems.append(f"lower_is_better: of {name} in {suite.name} more is better; leave it out.")
    problems += _out_of_range(suite, metric)
    return metric if len(problems) == before else None


def unmatched(suites: Sequence[PairedSuite], wishes: Wishes) -> list[str]:
    """Sentences on metrics that were asked for and that no suite has."""
    names = list(dict.fromkeys(name for suite in suites for answer in suite.pairs[0] for name in answer.scores))
    given = {
        "metric": [wishes.metrics[ANY_SUITE]] if ANY_SUITE in wishes.metrics else [],
        "range": list(wishes.ranges),
        "lower_is_better": wishes.lower_is_better,
    }
    return [
        f"{field}: no suite has the metric {', '.join(odd)}; there are {named(names)}."
        for field, wished in given.items()
        if (odd := [wish for wish in wished if not _matching(wish, names)])
    ]


def _missing(suite: PairedSuite, name: str) -> list[str]:
    """A sentence on a metric that one side has nowhere, with those that both have."""
    sides = [{metric for pair in suite.pairs for metric in pair[side].scores} for side in (0, 1)]
    if all(name in metrics for metrics in sides):
        return []
    lacking = "tuned" if name in sides[0] else "base"
    common = [metric for metric in suite.pairs[0][0].scores if all(metric in metrics for metrics in sides)]
    told = (
        f"both have {_listed(common)} (--metric {suite.name}:{common[0]})" if common else "no metric is on both sides"
    )
    return [f"{suite.name}: {name} is nowhere in the {lacking} log; {told}."]


def _name(suite: PairedSuite, wishes: Wishes, problems: list[str]) -> str | None:
    given = dict.fromkeys(name for pair in suite.pairs for answer in pair for name in answer.scores)
    names = [
        *(name for name in suite.base.metrics if name in given),
        *(n for n in given if n not in suite.base.metrics),
    ]
    wish = wishes.metrics.get(suite.name)
    any_of = wishes.metrics.get(ANY_SUITE)
    if wish is None and any_of is not None and _matching(any_of, names):
        wish = any_of
    if wish is not None:
        found = _matching(wish, names)
        if len(found) == 1:
            return found[0]
        told = f"is read in several ways ({', '.join(found)})" if found else f"is not there; it has {_listed(names)}"
        example = (found or names or ["acc"])[0]
        problems.append(f"{suite.name}: the metric {wish} {told}; name one, as --metric {suite.name}:{example}.")
        return None
    if not names:
        problems.append(
            f"{suite.name}: no metric gives one number an item, so it cannot be judged; leave it out by --suites."
        )
        return None
    return names[0]


def _matching(wish: str, names: Sequence[str]) -> list[str]:
    """The names that a wish stands for: that very one; with or without the way in which answers are read."""
    if wish in names:
        return [wish]
    bare = wish.removesuffix(",none")
    return [name for name in names if name == bare or name.partition(",")[0] == bare]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _gaps(suite: str, side: str, name: str, answers: Sequence[Answer]) -> list[str]:
    """Sentences on items without the metric, and on those where it is no number."""
    without = [answer.name for answer in answers if name not in answer.scores]
    odd = [answer.name for answer in answers if not math.isfinite(answer.scores.get(name, 0.0))]
    found = []
    if without:
        found.append(
            f"{suite}: {len(without)} of the {side} log's {len(answers)} items have no {name} (item {named(without)}); "
            "an item that failed has no score: run it again."
        )
    if odd:
        found.append(
            f"{suite}: {name} is not a finite number on {len(odd)} of the {side} log's {len(answers)} items (item "
            f"{named(odd)}): they were not scored. Score them, or choose another metric (--metric)."
        )
    return found


def _declared(suite: PairedSuite, name: str, wishes: Wishes) -> Metric:
    """The metric as the log declares it, else as its name and values tell; what was asked for comes first."""
    values = [answer.scores[name] for pair in suite.pairs for answer in pair]
    seen = Seen(min(values), max(values), only_0_and_1=set(values) <= {0.0, 1.0})
    if wished := wishes.ranges.get(name, wishes.ranges.get(name.partition(",")[0])):
        low, high = wished
        unit = "share" if (low, high) == (0.0, 1.0) else "points" if (low, high) == (0.0, 100.0) else ""
        return Metric(
            name=name, unit=unit, low=low, high=high, higher_is_better=_higher(suite, name, wishes) is not False
        )
    known = [side.declared[name] for side in (suite.base, suite.tuned) if name in side.declared]
    if known:
        return next((metric for metric in known if not metric.right_or_wrong), known[0])  # degrees, if one side has any
    return outside_metric(name, seen, higher_is_better=_higher(suite, name, wishes))


def _higher(suite: PairedSuite, name: str, wishes: Wishes) -> bool | None:
    """True where more is better, as asked for or as the log says; None where neither tells."""
    return False if _asked_for_less(name, wishes) else suite.base.higher_is_better.get(name)


def _asked_for_less(name: str, wishes: Wishes) -> bool:
    """True where less of a metric was said to be better, in whatever way answers are read."""
    return bool({name, name.partition(",")[0]} & set(wishes.lower_is_better))


def _out_of_range(suite: PairedSuite, metric: Metric) -> list[str]:
    """Sentences on values outside the range, and on shares in ones on one side and in per cent on the other."""
    sides = [[pair[side].scores[metric.name] for pair in suite.pairs] for side in (0, 1)]
    low, high = metric.low, metric.high
    is_share = family_of(metric.name) in SHARES
    if is_share and metric.high is None:
        low, high = 0.0, 100.0
    found = []
    for side, values in zip(("base", "tuned"), sides, strict=True):
        odd = [value for value in values if (low is not None and value < low) or (high is not None and value > high)]
        if odd:
            ends = f"{'−∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}"
            found.append(
                f"{suite.name}: {metric.name} of the {side} log goes beyond its range of {ends} on "
                f"{counted(len(odd), 'item')} (as {odd[0]:g})."
            )
    tops = [max(values) for values in sides]
    unlike = metric.high is None and 0 < min(tops) <= 1 and 50 * min(tops) <= max(tops) <= 100
    if not found and ((is_share and min(tops) <= 1 < max(tops)) or unlike):
        found.append(
            f"{suite.name}: {metric.name} goes to {tops[0]:g} on the base's side and to {tops[1]:g} on the "
            "tuned model's: one seems to be in ones and the other in per cent. Give both in one unit, "
            f"or say the range (--range {metric.name}:LOW:HIGH)."
        )
    return found
