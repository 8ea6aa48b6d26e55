"""What should be gone: the verdict on each suite, what the answers became, and whether it comes back."""

from __future__ import annotations

from collections.abc import Sequence

from retain.compare.aggregate import Group
from retain.records import numbers
from retain.records.gone_record import GoneScore, GoneVerdict
from retain.records.metric import Metric
from retain.records.result import Result
from retain.report.tables.scores_table import Table, cut_off_note

GONE_SIGNS: dict[str, str] = {"gone": "✓", "still there": "▼", "only refused": "↔", "too few items to say": "?"}

GONE_MEANING = (
    "Gone: shown that no more than the margin is left of what the base knew, in the wordings asked here; other "
    "wordings, or further training, may bring it back. Still there: more than the margin is shown to be left. Only "
    "refused: within the margin only if answers that decline or are empty count as not knowing. Too few items to say: "
    "none of these is shown."
)


def gone_cell(verdict: str) -> str:
    """A verdict with a sign before it, so that it is found without colour."""
    return f"{GONE_SIGNS.get(verdict, '·')} {verdict}"


def gone_verdict_table(result: Result) -> Table | None:
    """One row a suite of what should be gone; null where there is none."""
    if result.judgement is None or not result.judgement.gone:
        return None
    head = ("Suite", "Verdict", "Why", "Left", "Bound", "Margin", "p adjusted", "Known", "Units", "Items needed")
    rows = tuple(map(_verdict_row, result.judgement.gone))
    note = (
        f"{GONE_MEANING} Left: share of what the base knew, above guessing. Bound: at most so much is left, with "
        f"{numbers.percent(1 - result.judgement.alpha)} confidence for all these suites together (Holm), one-sided and "
        "exact; an answer that declines, is empty or was cut off counts as left. Known: items that the base has right. "
        "Units: independent ones among them. Items needed: how many in all would settle it."
    )
    return Table("Verdict on what should be gone", head, rows, note)


def _verdict_row(one: GoneVerdict) -> tuple[str, ...]:
    return (
        one.suite,
        gone_cell(one.verdict),
        one.reason,
        numbers.percent(one.share),
        numbers.MISSING if one.base_guesses else numbers.percent(one.bound),
        numbers.percent(one.margin),
        numbers.p_value(one.p_adjusted),
        f"{numbers.count(one.known)} of {numbers.count(one.n)}",
        numbers.count(one.units),
        numbers.MISSING if one.items_needed is None else numbers.count(one.items_needed),
    )


def gone_tables(result: Result) -> list[Table]:
    """What became of the answers, the likelihood of the old one, and what relearning brings back."""
    if not result.gone:
        return []
    found = [_answers_table(result.gone)]
    if any(one.old_answer_base is not None for one in result.gone):
        found.append(_likelihood_table(result.gone))
    if any(one.relearned is not None for one in result.gone):
        found.append(_relearning_table(result.gone))
    return found


def _answers_table(scores: tuple[GoneScore, ...]) -> Table:
    head = (
        *("Gone suite", "Metric", "Items", "Base right", "Tuned right", "Known to the base", "Still right", "Declined"),
        *("Empty", "Other answer", "Left", "At most left"),
    )
    rows = tuple(
        (
            one.name,
            one.metric.title,
            numbers.count(one.n),
            numbers.percent(one.base),
            numbers.percent(one.tuned),
            numbers.count(one.known),
            *(numbers.MISSING if n is None else numbers.count(n) for n in _counts(one)),
            numbers.percent(one.share),
            numbers.percent(one.bound),
        )
        for one in scores
    )
    note = (
        'Of the items that the base has right: still right, declined ("I cannot say"), empty, or another answer. Left: '
        "still right above guessing. At most left: its upper 95% bound, one-sided and exact, for this suite alone."
    )
    told = cut_off_note(scores)
    return Table("What should be gone: the same questions before and after", head, rows, f"{note} {told}".strip())


def _counts(one: GoneScore) -> tuple[int | None, ...]:
    return one.left, one.declined, one.silent, one.otherwise


def _likelihood_table(scores: tuple[GoneScore, ...]) -> Table:
    rows = tuple(
        (
            one.name,
            one.metric.title,
            probability(one.old_answer_base),
            probability(one.old_answer_tuned),
            numbers.change(one.old_answer_change, one.old_answer_interval, numbers.NATS),
        )
        for one in scores
        if one.old_answer_base is not None
    )
    note = (
        "Probability of the bare old answer right after the question, as a geometric mean over the items, and the mean "
        "change of its logarithm in nats; it is low for a model that answers in sentences. Where it does not fall "
        "although another answer is given, the old one is pushed aside rather than unknown."
    )
    head = ("Gone suite", "Metric", "Old answer before", "Old answer after", "Change in nats [95%]")
    return Table("Likelihood of the old answer", head, rows, note)


def _relearning_table(scores: tuple[GoneScore, ...]) -> Table:
    rows = tuple(
        (
            one.name,
            one.metric.title,
            numbers.count(one.relearned.steps),
            numbers.count(one.relearned.tokens),
            numbers.learning_rate(one.relearned.learning_rate),
            f"{one.left} of {one.known}",
            f"{one.relearned.left} of {one.relearned.known}",
            numbers.percent(one.relearned.share),
            numbers.percent(one.relearned.bound),
            probability(one.relearned.old_answer),
        )
        for one in scores
        if one.relearned is not None
    )
    head = (
        *("Gone suite", "Metric", "Steps", "Tokens", "Learning rate", "Right before", "Right after", "Left"),
        *("At most left", "Old answer"),
    )
    note = (
        "The tuned model, trained a little on held-out text in which no old answer stands, and asked again. What comes "
        "back so was suppressed. It is reported beside the verdict and does not change it."
    )
    return Table("Relearning: does it come back?", head, rows, note)


def gone_by_setting(groups: Sequence[Group]) -> Table | None:
    """One row a setting and suite of a comparison: its verdicts and what is left; null where nothing should be gone."""
    rows = tuple(
        _setting_row(group, name, metric)
        for name, metric in _gone_keys([result for group in groups for result in group.results])
        for group in groups
    )
    if not rows:
        return None
    head = (
        *("Gone suite", "Setting", "Runs", *(gone_cell(word) for word in GONE_SIGNS)),
        *("Known", "Still right", "Left", "At most left", "Old answer", "After relearning"),
    )
    note = (
        f'{GONE_MEANING} Verdicts are numbers of runs; the other figures are means over them, of "at most left" the '
        "largest."
    )
    return Table("What should be gone, by setting", head, rows, note)


def _gone_keys(results: Sequence[Result]) -> list[tuple[str, Metric]]:
    return list(dict.fromkeys((score.name, score.metric) for result in results for score in result.gone))


def _setting_row(group: Group, name: str, metric: Metric) -> tuple[str, ...]:
    scores = [one for run in group.results for one in run.gone if (one.name, one.metric) == (name, metric)]
    judged = [one for run in group.results if run.judgement for one in run.judgement.gone if one.suite == name]
    words = [one.verdict for one in judged]
    bounds = [one.bound for one in scores if one.bound is not None]
    return (
        name,
        group.title,
        str(len(group.runs)),
        *(str(words.count(word)) for word in GONE_SIGNS),  # type: ignore[arg-type]  # the words of its verdicts
        _mean([one.known for one in scores]),
        _mean([one.left for one in scores]),
        numbers.percent(mean_of([one.share for one in scores])),
        numbers.percent(max(bounds, default=None)),
        probability(mean_of([one.old_answer_tuned for one in scores])),
        _mean([one.relearned.left for one in scores if one.relearned is not None]),
    )


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known; None of none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _mean(values: Sequence[int]) -> str:
    return numbers.three_digits(mean_of(list(values)))


def probability(value: float | None) -> str:
    """A probability that may be very small: `62.1%`, `0.031%`."""
    if value is None:
        return numbers.MISSING
    return numbers.percent(value) if value >= 0.001 else f"{numbers.three_digits(100 * value)}%"


def gone_sentence(result: Result) -> str:
    """The verdict on what should be gone, in a sentence; empty where nothing should."""
    return result.judgement.forgot_reason if result.judgement is not None else ""
