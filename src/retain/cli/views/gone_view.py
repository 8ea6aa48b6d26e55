"""What should be gone, in the terminal: the verdicts, the answers, and the settings of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from retain.cli.views.cells import table, text
from retain.compare.aggregate import Group
from retain.records import numbers
from retain.records.gone_record import GoneScore
from retain.records.result import Result
from retain.report.tables.gone_tables import GONE_SIGNS, gone_by_setting, gone_verdict_table, probability


def gone_parts(result: Result) -> list[RenderableType]:
    """The verdicts and the answers of one run; nothing where nothing should be gone."""
    judged = gone_verdict_table(result)
    parts: list[RenderableType] = []
    if judged is not None:
        shown = table(judged.caption, ("suite", "verdict", "left", "at most", "known", "needed"))
        for suite, verdict, reason, left, bound, _, _, known, _, needed in judged.rows:
            name = Text.assemble(text(suite), "\n", text(reason, "dim"))
            shown.add_row(name, *map(text, (verdict, left, bound, known, needed)))
        parts.append(shown)
    return [*parts, _answers(result.gone)] if result.gone else parts


def _answers(scores: Sequence[GoneScore]) -> Table:
    """What the tuned model says to what the base has right, the likelihood of the old answer, and relearning."""
    head = ("suite", "still right", "declined", "empty", "other", "old answer", "relearned")
    shown = table("What should be gone", head)
    for one in scores:
        counts = (one.left, one.declined, one.silent, one.otherwise)
        cells = [numbers.MISSING if number is None else numbers.count(number) for number in counts]
        old = numbers.MISSING
        if one.old_answer_base is not None:
            old = f"{probability(one.old_answer_base)} → {probability(one.old_answer_tuned)}"
        again = numbers.MISSING if one.relearned is None else f"{one.relearned.left} of {one.known}"
        name = Text.assemble(text(one.name), (f"\n{one.metric.title}, {one.known} of {one.n} known", "dim"))
        shown.add_row(name, *map(text, (*cells, old, again)))
    return shown


def gone_settings(groups: Sequence[Group]) -> list[Table]:
    """The verdicts of a comparison and what is left, a row a setting; the report has all columns."""
    found = gone_by_setting(groups)
    if found is None:
        return []
    shown = table(found.caption, ("suite", *GONE_SIGNS, "left", "at most"))
    last = 3 + len(GONE_SIGNS)
    for row in found.rows:
        name = Text.assemble(text(row[0]), "\n", text(row[1], "dim"))
        shown.add_row(name, *map(text, (*row[3:last], row[last + 2], row[last + 3])))
    return [shown]
