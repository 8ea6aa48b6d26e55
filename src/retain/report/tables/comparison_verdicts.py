"""The verdicts of a comparison: for each setting how many runs were judged how, and on which suites they lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from retain.compare.aggregate import Group
from retain.records import numbers
from retain.records.numbers import listing
from retain.records.result import Result
from retain.report.tables.scores_table import Table
from retain.report.verdict_words import MEANING, VERDICT_SIGNS, VERDICTS, verdict_counts


def setting_verdicts(groups: Sequence[Group]) -> Table | None:
    """One row a setting with the number of its runs of each verdict; null where no run was judged."""
    judged = [group for group in groups if any(result.judgement is not None for result in group.results)]
    if not judged:
        return None
    head = (
        "Setting",
        "Runs",
        "Learned",
        *(f"{VERDICT_SIGNS[verdict]} {verdict}" for verdict in VERDICTS),
        "Lost or changed on",
    )
    rows = tuple(_row(group) for group in groups)
    note = f"Numbers of runs; each verdict is that of its own run. {MEANING}"
    return Table("Verdicts by setting", head, rows, note)


def _row(group: Group) -> tuple[str, ...]:
    given = [result.judgement for result in group.results if result.judgement is not None]
    learned = f"{sum(judged.learned == 'yes' for judged in given)} of {len(given)}"
    counts = verdict_counts(group.results)
    lost = Counter(
        verdict.suite for judged in given for verdict in judged.suites if verdict.verdict in {"lost", "changed format"}
    )
    told = ", ".join(f"{suite} ({times})" for suite, times in lost.most_common()) or numbers.MISSING
    return (group.title, str(len(group.runs)), learned, *(str(counts[verdict]) for verdict in VERDICTS), told)


def verdicts_in_words(results: Sequence[Result]) -> str:
    """The number of runs with each verdict, in one sentence; empty where none was judged."""
    counts = verdict_counts(results)
    judged = sum(counts.values())
    if not judged:
        return ""
    told = listing([f"{count} {verdict}" for verdict, count in counts.items() if count])
    unjudged = "" if judged == len(results) else f"; {len(results) - judged} were not judged"
    return f"Of {judged} run{'s' if judged != 1 else ''}: {told}{unjudged}."
