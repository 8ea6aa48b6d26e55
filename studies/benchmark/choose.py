"""The learning rate of each method on each task, chosen on validation items alone. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collect import values
from plan import Cell, Plan

VALIDATION = "validation"
"""The condition of the items that the learning rate is chosen on; they are in no figure of the page."""


def best_rate(plan: Plan, records: Path, task: str, method: str) -> float | None:
    """The rate whose run is best on validation items, of equal ones the lowest; None while a run is missing.

    Of a method that changes LoRA's runs the middle strength: the best by gain alone would be the weakest.
    """
    scores = {}
    for cell in plan.sweep(task, method):
        score = validation_score(plan, records, cell)
        if score is None:
            return None
        scores[cell.rate] = score
    if plan.is_after(method):
        return sorted(scores)[1]
    return max(sorted(scores), key=lambda rate: scores[rate])


def validation_score(plan: Plan, records: Path, cell: Cell) -> float | None:
    """The mean of the deciding metric over the validation items, more being better; None where there is no record."""
    path = records / cell.task / f"{cell.name}.items.json"
    if not path.is_file():
        return None
    choose = plan.tasks[cell.task]["choose"]
    scores = items_of(path)["columns"][f"task:{choose['suite']}"][choose["metric"]]["tuned"]
    own = places(records / cell.task / "parts.json", f"task:{choose['suite']}", VALIDATION)
    chosen = [value for place, value in enumerate(values(scores)) if place in own and value is not None]
    sign = -1.0 if choose.get("lower_is_better") else 1.0
    return sign * sum(chosen) / len(chosen)


def items_of(path: Path) -> dict[str, Any]:
    """A run's file of columns."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def places(parts: Path, suite: str, condition: str) -> set[int]:
    """The places of a suite's items that are of one condition."""
    conditions = items_of(parts)[suite]["conditions"]
    wanted = conditions["names"].index(condition)
    return {place for place, name in enumerate(conditions["of"]) if name == wanted}
