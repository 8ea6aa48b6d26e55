"""The metric of a harness task, made once at the door: direction as the harness declares it, range as it was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retain.records.metric import Metric
from retain.records.outside_metrics import Seen, outside_metric


def harness_metric(
    name: str, task: str, result: Mapping[str, Any], sides: Sequence[Sequence[Mapping[str, float]]]
) -> Metric:
    """The metric of a task.

    Args:
        name: as items have it: `acc`, or `exact_match,strict-match` where answers are read in several ways.
        task: name of the task.
        result: of the harness for one side, whose `higher_is_better` declares the direction by task and metric.
        sides: scores of each item on both sides.
    """
    declared = result.get("higher_is_better", {}).get(task, {}).get(name.partition(",")[0])
    values = [item[name] for side in sides for item in side]
    seen = Seen(min(values), max(values), only_0_and_1=set(values) <= {0.0, 1.0})
    return outside_metric(name, seen, higher_is_better=declared)
