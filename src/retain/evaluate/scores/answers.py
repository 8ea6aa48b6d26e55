"""The functions that score a written answer against the expected one, found by the metrics' rows."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from functools import cache

from retain.records.metrics_table import Row


@cache
def answer_score(row: Row) -> Callable[[str, str], float]:
    """The function (answer, expected) → value of a metric's row.

    Raises:
        ImportError: there is no such module.
        AttributeError: it has no such function.
    """
    function = pkgutil.resolve_name(row.of_answer)

    def score(answer: str, expected: str) -> float:
        return float(function(answer, expected))

    return score
