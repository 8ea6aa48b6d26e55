"""The outcomes of several runs' budgets: a row a run for people, and the same as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retain.records import numbers
from retain.records.budget_record import BudgetRecord
from retain.records.result import Result
from retain.report.tables.budget import amount
from retain.report.tables.scores_table import Table

_REPEATED = (
    "Each promise is for its own run. Where runs share control data and one is chosen by these figures, it is weaker "
    "than stated."
)


def budgets_table(runs: Iterable[tuple[str, Result]]) -> Table | None:
    """One row a run that had a budget, one column a limit; null where no run had one.

    Args:
        runs: each run's name and record.
    """
    stated = [(name, result) for name, result in runs if result.budget]
    if not stated:
        return None
    limits = list(dict.fromkeys(one.name for _, result in stated for one in result.budget))
    rows = tuple(
        (name, delivered_cell(result), *(_limit_cell(result.budget, limit) for limit in limits))
        for name, result in stated
    )
    head = ("Run", "Delivered", *limits)
    return Table("Forgetting budgets: lost at most, of the limit", head, rows, _note([result for _, result in stated]))


def delivered_cell(result: Result) -> str:
    """The share of the update that a run delivered."""
    if result.scaling is None:
        return numbers.MISSING
    if result.scaling.alpha == 0:
        return "▼ nothing"
    return "✓ all" if result.scaling.alpha == 1 else f"✓ α = {result.scaling.alpha:g}"


def _limit_cell(budget: Iterable[BudgetRecord], name: str) -> str:
    one = next((one for one in budget if one.name == name), None)
    if one is None:
        return numbers.MISSING
    return f"{'✓' if one.kept else '▼'} {amount(one.bound, one, named=False)} of {amount(one.limit, one)}"


def _note(results: list[Result]) -> str:
    sure = " or ".join(
        f"{100 * value:g}%" for value in sorted({one.confidence for result in results for one in result.budget})
    )
    told = (
        f"Lost at most: the upper bound at {sure} confidence, from each run's control data, at the setting delivered; "
        "where nothing was, at the safest one tried. ✓: the limit is kept. ▼: not shown to be kept."
    )
    return told if len(results) == 1 else f"{told} {_REPEATED}"


def budgets_data(runs: Iterable[tuple[str, Result]]) -> list[dict[str, Any]]:
    """The runs that had a budget: how much of the update was delivered, and each limit with its certificate."""
    kept = {"name", "limit", "unit", "confidence", "n", "observed", "bound", "p_value", "kept", "items_needed"}
    return [
        {
            "run": name,
            "alpha": None if result.scaling is None else result.scaling.alpha,
            "limits": [one.model_dump(include=kept) for one in result.budget],
        }
        for name, result in runs
        if result.budget
    ]
