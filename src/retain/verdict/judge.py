"""The verdict on a record, from its scores and items alone: what the models' run says, and any replay without them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from retain.records.items import Item
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.records.verdicts import AACheck, Judgement, SuiteVerdict, Verdict
from retain.stats.clusters import named_groups
from retain.verdict import evidence
from retain.verdict.evidence import Evidence
from retain.verdict.verdict import Judged, Suite, judge, judge_tasks, learned, overall

EXACT, ANYWHERE = "exact_match", "contains"
"""The metrics that tell how an answer is written, where they are not the one that decides."""

CROSS_ENTROPY = "cross_entropy_nats_per_token"
REFERENCE = "held_out_text"
LANGUAGE = "held-out text"
UNDECIDED: Verdict = "too few items to say"
LARGEST = {"chrf": 100.0, "rouge_l": 1.0, "reciprocal_rank": 1.0}
"""The largest value of our metrics with degrees that have one; a model that lost everything has 0."""

SHARES = frozenset(
    {
        *("acc", "acc_norm", "accuracy", "contains", "em", "exact", "exact_match", "f1", "mrr", "precision", "recall"),
        *("bleu", "rouge1", "rouge2", "rougel", "rougelsum"),
    }
)
"""Metrics of other programs that are a share, in ones or in per cent; of a model that lost everything it is 0."""

ALPHA = 0.05
SET_LEVEL = frozenset({"macro_f1", "matthews"})
"""Metrics of a whole suite, which no item has."""


def judge_record(
    task: Sequence[TaskScore],
    keep: Sequence[KeepScore],
    items: Iterable[Item],
    *,
    margin: float,
    margin_nats: float,
    aa_check: AACheck | None = None,
) -> Judgement:
    """The verdict on one run.

    Args:
        task: what was learned, by metric.
        keep: what was kept; the first metric of a suite is the one that decides.
        items: every item of the record.
        margin: loss that still counts as kept, of right-or-wrong metrics and of others with a largest value as a
            share of that.
        margin_nats: the same in nats per token.
        aa_check: the base put to itself; a verdict over a base that does not answer alike is no verdict.
    """
    by_suite: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        by_suite[item.part, item.suite].append(item)
    suites = []
    for name in dict.fromkeys(score.name for score in keep):
        scores = [score for score in keep if score.name == name]
        own = by_suite["keep", name]
        form = _written_form(scores)
        written = None if form is None else _evidence(name, form, own, margin, margin_nats)
        suites.append(Suite(name, _evidence(name, scores[0], own, margin, margin_nats), written))
    suites += [Suite(one.name, one) for one in _languages(by_suite["held_out_text", REFERENCE], margin_nats)]
    judged = _scored(judge(suites, ALPHA), suites, keep)
    verdict, reason = overall(judged)
    if aa_check is not None and not aa_check.passed:
        verdict, reason = UNDECIDED, f"{aa_check.note} No verdict can rest on that."
    tasks = [
        _evidence(score.name, score, by_suite["task", score.name], margin, margin_nats)
        for score in task
        if score.metric not in SET_LEVEL
    ]
    return Judgement(
        overall=verdict,
        reason=reason,
        learned=learned(judge_tasks(tasks, ALPHA)),
        suites=tuple(map(_verdict, judged)),
        alpha=ALPHA,
        aa_check=aa_check,
    )


def _written_form(scores: Sequence[KeepScore]) -> KeepScore | None:
    """The metric of the answer's form: exact match where the base mostly answers so, else whether it is there at all.

    A base that answers in sentences has no exact form to lose; that the right answer stands in them no longer is then
    what shows another form.
    """
    forms = {score.metric: score for score in scores[1:] if score.status != "too few items"}
    exact, anywhere = forms.get(EXACT), forms.get(ANYWHERE)
    if exact is None or anywhere is None:
        return exact or anywhere
    return exact if (exact.base or 0.0) >= (anywhere.base or 0.0) / 2 else anywhere


def _scored(judged: Sequence[Judged], suites: Sequence[Suite], keep: Sequence[KeepScore]) -> list[Judged]:
    """The verdicts, where those without a score, and those of a metric without a scale, say so.

    A suite too small for a score is too small for any verdict. Of a metric whose range is not known a loss can be
    shown, but none can be called small.
    """
    deciding = {score.name: score for score in reversed(keep)}
    found = []
    for one, suite in zip(judged, suites, strict=True):
        score = deciding.get(one.suite)
        if score is not None and score.status == "too few items" and one.verdict != UNDECIDED:
            one = replace(one, verdict=UNDECIDED, reason=score.note, has_power=False)  # noqa: PLW2901
        elif one.verdict == UNDECIDED and _unscaled(suite.knowledge):
            reason = f"the range of {one.decided_by} is not known, so no loss can be called small."
            one = replace(one, reason=reason)  # noqa: PLW2901
        found.append(one)
    return found


def _unscaled(evidence: Evidence) -> bool:
    return evidence.chance is None and not evidence.drifts


def largest_of(metric: str, *values: np.ndarray) -> float | None:
    """The largest value that a metric with degrees can have; None for nats, and where it is not known.

    Args:
        metric: its name, as in the record.
        values: what was seen of it: a share is in per cent where one is above 1.
    """
    name = metric.partition(",")[0].lower().removesuffix("_max")
    seen = np.concatenate([*values, [0.0]])
    scale = LARGEST.get(name)
    if scale is None and name in SHARES:
        scale = 1.0 if seen.max() <= 1 else 100.0
    return scale if scale is not None and seen.min() >= 0 and seen.max() <= scale * (1 + 1e-9) else None


def replay(result: Result, items: Sequence[Item]) -> Judgement:
    """The verdict of a record made again from its scores and items, with the margins that it was made with."""
    told = {} if result.judgement is None else {one.suite: one for one in result.judgement.suites}
    shares = [one.margin for one in told.values() if one.decided_by != CROSS_ENTROPY]
    nats = [one.margin for one in told.values() if one.decided_by == CROSS_ENTROPY]
    asked = result.margins
    return judge_record(
        result.task,
        result.keep,
        items,
        margin=asked[0] if asked else max(shares, default=evidence.TOLERANCE),
        margin_nats=asked[1] if asked else max(nats, default=evidence.TOLERANCE),
        aa_check=None if result.judgement is None else result.judgement.aa_check,
    )


def disagreements(result: Result, items: Sequence[Item]) -> list[str]:
    """Where the means that a record states are not those of its items, or items have no score in it."""
    scores: list[tuple[str, KeepScore | TaskScore]] = [("task", one) for one in result.task]
    scores += [("keep", one) for one in result.keep]
    parted: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        parted[item.part, item.suite].append(item)
    unscored = {key for key in parted if key[0] != "held_out_text"} - {(part, score.name) for part, score in scores}
    found = [f"its items of {name} have no score in the record." for _, name in sorted(unscored)]
    for part, score in scores:
        if score.metric in SET_LEVEL:
            continue
        metric = score.metric
        having = [i for i in parted[part, score.name] if metric in i.base.scores and metric in i.tuned.scores]
        weights = _weights(having) if metric == CROSS_ENTROPY else None
        for side in ("base", "tuned"):
            mean = getattr(score, side)
            values = [getattr(item, side).scores[metric] for item in having]
            if mean is not None and not (values and np.isclose(np.average(values, weights=weights), mean)):
                found.append(f"the record's {metric} of {score.name}, {side}, is not that of its items.")
    return found


def _verdict(judged: Judged) -> SuiteVerdict:
    return SuiteVerdict(**{name: getattr(judged, name) for name in SuiteVerdict.model_fields})


def _evidence(
    name: str, score: KeepScore | TaskScore, items: Sequence[Item], margin: float, margin_nats: float
) -> Evidence:
    metric = score.metric
    having = [item for item in items if metric in item.base.scores and metric in item.tuned.scores]
    base, tuned = (np.asarray([getattr(item, side).scores[metric] for item in having]) for side in ("base", "tuned"))
    generator = np.random.default_rng(0)
    groups = named_groups([item.group for item in having])
    if np.isin(base, (0, 1)).all() and np.isin(tuned, (0, 1)).all() and metric not in LARGEST:
        chance = getattr(score, "chance", 0.0)
        return evidence.right_or_wrong(name, metric, base, tuned, chance, generator, groups=groups, margin=margin)
    largest = largest_of(metric, base, tuned)
    found = evidence.graded(
        name,
        metric,
        base,
        tuned,
        generator,
        higher_is_better=score.higher_is_better,
        weights=_weights(having) if metric == CROSS_ENTROPY else None,
        groups=groups,
        worst=None if largest is None else 0.0,
        largest=largest,
        margin=margin_nats if largest is None else margin * largest,
    )
    return replace(found, can_fall=0) if _unscaled(found) else found  # it could not show a chance-level model


def _languages(windows: Sequence[Item], margin_nats: float) -> list[Evidence]:
    """The held-out text, each domain by itself where there are several."""
    domains: dict[str | None, list[Item]] = defaultdict(list)
    for window in windows:
        domains[window.condition].append(window)
    names = {domain: f"{LANGUAGE}: {domain or 'other'}" if len(domains) > 1 else LANGUAGE for domain in domains}
    return [_language(names[domain], part, margin_nats) for domain, part in domains.items()]


def _language(name: str, windows: Sequence[Item], margin_nats: float) -> Evidence:
    base, tuned = (
        np.asarray([getattr(item, side).scores[CROSS_ENTROPY] for item in windows]) for side in ("base", "tuned")
    )
    return evidence.graded(
        name,
        CROSS_ENTROPY,
        base,
        tuned,
        np.random.default_rng(0),
        higher_is_better=False,
        weights=_weights(windows),
        margin=margin_nats,
    )


def _weights(items: Sequence[Item]) -> np.ndarray:
    return np.asarray([item.base.scores.get("tokens", 1.0) for item in items])
