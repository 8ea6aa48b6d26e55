"""A comparison ready to be shown: its sentences, its tables and a summary of each run, for Markdown and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retain.compare.aggregate import Estimate, Group, NamedResult, group_runs
from retain.compare.cautions import comparison_cautions
from retain.compare.method_curves import Whole, wholes
from retain.compare.pareto import pareto_front
from retain.compare.pick import Key, Pick, keep_keys, model_name, pick_keep, pick_kl, pick_task, sign_of, told_apart
from retain.compare.pick import task_keys as all_task_keys
from retain.records import numbers
from retain.records.numbers import listing
from retain.records.result import Result
from retain.report.claims import subtitle
from retain.report.tables.comparison_budgets import budgets_table
from retain.report.tables.comparison_tables import comparison_tables, keep_reading, task_reading
from retain.report.tables.comparison_verdicts import setting_verdicts, verdicts_in_words
from retain.report.tables.drift_tables import drift_table
from retain.report.tables.gone_tables import gone_by_setting, gone_tables
from retain.report.tables.provenance_tables import size_table
from retain.report.tables.scores_table import Table, score_tables
from retain.report.verdict_words import headline

MOST_NAMED = 4
"""How many settings a sentence names; of more it says how many there are, and the tables name them."""

_UNJUDGED = {None, "too few items", "base at chance", "answers cut off"}


@dataclass(frozen=True)
class RunDetail:
    """One run within a comparison; `link` leads to its own report, relative to the comparison's, where there is one."""

    name: str
    subtitle: str
    headline: str
    tables: tuple[Table, ...]
    link: str


@dataclass(frozen=True)
class Comparison:
    """All that the reports of a comparison say."""

    title: str
    headline: str
    sentences: tuple[str, ...]
    cautions: tuple[str, ...]
    verdicts: Table | None
    gone: Table | None
    budgets: Table | None
    wholes: tuple[Whole, ...]
    tables: tuple[Table, ...]
    details: tuple[RunDetail, ...]
    groups: tuple[Group, ...]


def compare_runs(runs: Sequence[NamedResult], links: Sequence[str] | None = None) -> Comparison:
    """Put runs side by side. `links` has each run's link to its own report, empty where it has none."""
    groups = group_runs(runs)
    details = [
        RunDetail(run.name, subtitle(run.result), headline(run.result), _detail_tables(run), link)
        for run, link in zip(runs, links or [""] * len(runs), strict=True)
    ]
    by_name = {detail.name: detail.link for detail in details if detail.link}
    models = list(dict.fromkeys(model_name(run.result.model) for run in runs))
    return Comparison(
        title=f"{_methods(groups)} compared on {listing(models)}",
        headline=_headline(runs, groups),
        sentences=tuple(_sentences(runs, groups)),
        cautions=tuple(comparison_cautions(runs, groups)),
        verdicts=setting_verdicts(groups),
        gone=gone_by_setting(groups),
        budgets=budgets_table((run.name, run.result) for run in runs),
        wholes=tuple(wholes(groups)),
        tables=tuple(comparison_tables(runs, groups, by_name)),
        details=tuple(details),
        groups=tuple(groups),
    )


def _detail_tables(run: NamedResult) -> tuple[Table, ...]:
    return (*score_tables(run.result), *gone_tables(run.result), drift_table(run.result.drift), size_table(run.result))


def _methods(groups: Sequence[Group]) -> str:
    names = list(dict.fromkeys(group.method for group in groups))
    if len(names) > MOST_NAMED:
        names = list(dict.fromkeys(group.results[0].method.name for group in groups))
    return listing(names) if len(names) <= MOST_NAMED else f"{len(names)} methods"


def trade_off(groups: Sequence[Group], task: Key, kept: Pick, sign: float) -> list[tuple[Group | None, float, float]]:
    """Points (task improvement, what was kept), more is better on both; the unchanged base (null) comes first."""
    points: list[tuple[Group | None, float, float]] = [(None, 0.0, 0.0)]
    for group in groups:
        x, y = group.estimate(pick_task(task)), group.estimate(kept)
        if x is not None and y is not None:
            points.append((group, sign_of(group.results, task) * x.mean, sign * y.mean))
    return points


def _headline(runs: Sequence[NamedResult], groups: Sequence[Group]) -> str:
    """The winner on the first task; then the verdicts, or the losses by suite where there are none."""
    results = [run.result for run in runs]
    tasks, suites = all_task_keys(results), keep_keys(results)
    parts = []
    if tasks:
        parts.append(_most_learned_in_brief(groups, tasks[0]))
    verdicts, gone = verdicts_in_words(results), _gone_sentences(results)
    if verdicts:
        return " ".join([*parts, verdicts, *gone])
    readings = {key: [(keep_reading(group, key), group.title) for group in groups] for key in suites}
    losers = {key: [title for reading, title in found if reading == "worse"] for key, found in readings.items()}
    losses = [f"on {key[0]} with {_named(titles)}" for key, titles in losers.items() if titles]
    judged = any(reading not in _UNJUDGED for found in readings.values() for reading, _ in found)
    if losses:
        parts.append(f"Loss shown {'; '.join(losses)}.")
    elif judged:
        parts.append("No loss shown on any retention suite, which does not prove that there was none.")
    else:
        parts.append("No retention suite could show a loss, so nothing is known about what was lost.")
    return " ".join(parts)


def _best(groups: Sequence[Group], key: Key) -> tuple[Group, Estimate, list[str]] | None:
    """The setting with the largest mean improvement among those shown to improve, and whose interval overlaps with its.

    None where no setting is shown to improve.
    """
    scored = [(group, found) for group in groups if (found := group.estimate(pick_task(key))) is not None]
    shown = [(group, found) for group, found in scored if task_reading(group, key) == "better"]
    if not shown:
        return None
    best, top = max(shown, key=lambda pair: sign_of(pair[0].results, key) * pair[1].mean)
    return best, top, [group.title for group, found in scored if group is not best and _overlap(top, found)]


def _overlap(one: Estimate, other: Estimate) -> bool:
    if one.interval is None or other.interval is None:
        return True
    return one.interval[0] <= other.interval[1] and other.interval[0] <= one.interval[1]


def _named(titles: Sequence[str]) -> str:
    if len(titles) <= MOST_NAMED:
        return listing(titles)
    return f"{', '.join(titles[: MOST_NAMED - 1])} and {len(titles) - MOST_NAMED + 1} others"


def _sentences(runs: Sequence[NamedResult], groups: Sequence[Group]) -> list[str]:
    results = [run.result for run in runs]
    seeds = {group.seeds for group in groups}
    each = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(*seeds)
    counted = f"{len(runs)} run{'s' if len(runs) != 1 else ''}, {len(groups)} setting{'s' if len(groups) != 1 else ''}"
    plural = "" if each == "1" else "s"
    sentences = [f"{counted} (method, configuration, learning rate), {each} seed{plural} each."]
    tasks, suites = all_task_keys(results), keep_keys(results)
    sentences += [_most_learned(groups, key) for key in tasks]
    sentences += [_kept(groups, key) for key in suites]
    sentences += _drift_sentence(groups)
    if tasks:
        sentences += [_front(groups, tasks[0], key, name=told_apart(key, suites)) for key in suites]
    else:
        sentences.append("No task was measured, so nothing is known about what was learned.")
    sentences += _gone_sentences(results)
    if not suites:
        sentences.append("No retention suite was measured, so nothing is known about what was lost.")
    return [sentence for sentence in sentences if sentence]


def _most_learned_in_brief(groups: Sequence[Group], key: Key) -> str:
    found = _best(groups, key)
    if found is None:
        return f"No improvement shown on {key[0]}."
    best, _, overlapping = found
    doubt = ", though not shown to be better than every other" if overlapping else ""
    return f"{best.title} improved {key[0]} most{doubt}."


def _most_learned(groups: Sequence[Group], key: Key) -> str:
    """The winner by one metric and the settings without a shown improvement; where no setting has one, that alone."""
    unit = key[1].unit
    name = f"{key[0]} ({key[1].title})"
    found = _best(groups, key)
    if found is None:
        return f"{name}: no improvement shown with {'any setting' if len(groups) > 1 else groups[0].title}."
    best, top, overlapping = found
    change = f"{numbers.change(top.mean, top.interval, unit)} {unit.name}".rstrip()
    text = f"{name}: largest improvement with {best.title}, {change}"
    if overlapping:
        text += f"; its interval overlaps with {_named(overlapping)}, so it is not shown to be best"
    unshown = [group.title for group in groups if task_reading(group, key) not in {"better", None}]
    return f"{text}. No improvement shown: {_named(unshown)}." if unshown else f"{text}."


def _kept(groups: Sequence[Group], key: Key) -> str:
    by_reading: dict[str, list[str]] = {}
    for group in groups:
        reading = keep_reading(group, key)
        if reading is not None:
            by_reading.setdefault(reading, []).append(group.title)
    wording = {
        "worse": "loss shown for {}",
        "borderline": "borderline for {}",
        "no change shown": "no change shown for {}",
        "better": "gain shown for {}",
        "too few items": "too few items to judge",
        "base at chance": "the base is at chance, so no loss can show",
        "answers cut off": "most answers were cut off, so nothing can be said",
    }
    total = sum(map(len, by_reading.values()))
    parts = []
    for told, words in wording.items():
        titles = by_reading.get(told, [])
        if titles:
            parts.append(words.format("every setting" if len(titles) == total else _named(titles)))
    return f"{key[0]} ({key[1].title}): {'; '.join(parts)}."


def _gone_sentences(results: Sequence[Result]) -> list[str]:
    """In how many runs each suite of what should be gone is."""
    judged = [one for result in results if result.judgement is not None for one in result.judgement.gone]
    words = {
        name: [one.verdict for one in judged if one.suite == name]
        for name in dict.fromkeys(one.suite for one in judged)
    }
    return [
        f"{name}, which should be gone, is gone in {own.count('gone')} of {len(own)} runs."
        for name, own in words.items()
    ]


def _drift_sentence(groups: Sequence[Group]) -> list[str]:
    found = [(estimate.mean, group.title) for group in groups if (estimate := group.estimate(pick_kl)) is not None]
    if len(found) < 2:
        return []
    (least, least_title), (most, most_title) = min(found), max(found)
    low, high = numbers.plain(least, numbers.NATS), numbers.plain(most, numbers.NATS)
    told = f"least with {least_title} ({low}), most with {most_title} ({high})"
    return [f"Drift on held-out text (KL, nats per token): {told}."]


def _front(groups: Sequence[Group], task: Key, suite: Key, *, name: str) -> str:
    scored = [group for group in groups if keep_reading(group, suite) not in _UNJUDGED]
    if len(scored) < 2:
        return ""
    sign = sign_of(scored[0].results, suite)
    points = trade_off(scored, task, pick_keep(suite), sign)
    front = [points[index][0] for index in pareto_front([(x, y) for _, x, y in points])]
    names = ["the unchanged base" if group is None else group.title for group in front]
    return f"Not beaten on both {task[0]} and {name} at once (by the means): {_named(names)}."
