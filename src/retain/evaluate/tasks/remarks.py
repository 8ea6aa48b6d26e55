"""Remarks on suites that are measured all the same, for `retain check`, the record and the report."""

from __future__ import annotations

from collections.abc import Iterable

from retain.data.contradictions import contradictions_clause
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.table import task_type_of


def remarks_on(suites: Iterable[Suite]) -> list[str]:
    """Sentences on suites: what their task type finds, how rows were read, and rows that contradict one another."""
    return [f"{suite.name}: {remark}." for suite in suites for remark in _clauses(suite)]


def _clauses(suite: Suite) -> list[str]:
    contradiction = contradictions_clause(suite.items)
    return [*task_type_of(suite).cautions(suite), *suite.notes, *([contradiction] if contradiction else [])]
