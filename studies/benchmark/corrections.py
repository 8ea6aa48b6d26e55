"""What was found wrong with measured items after they were asked: `corrections.json` beside the tasks' records.

`left_out` are the places of items whose answer is wrong or not the only right one: their scores count nowhere.
`together` numbers what items share (tickets: the wording of the message), so that they are drawn together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collect import column, values

FILE = "corrections.json"
LEFT_OUT, TOGETHER = "left_out", "together"


def read_corrections(records: Path) -> dict[str, Any]:
    """What the file says; nothing where there is none."""
    if not (records / FILE).is_file():
        return {LEFT_OUT: {}, TOGETHER: {}}
    content: dict[str, Any] = json.loads((records / FILE).read_text(encoding="utf-8"))
    return content


def corrected_columns(task: str, columns: Mapping[str, Any], corrections: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a task's run without the scores of items that are left out.

    Raises:
        ValueError: the suite has another number of items than the file is about.
    """
    places = {suite: one for suite, one in corrections[LEFT_OUT].items() if task in one["tasks"]}
    return {suite: _without(suite, own, places.get(suite)) for suite, own in columns.items()}


def corrected_parts(task: str, parts: Mapping[str, Any], corrections: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a task's items with what they share as their group.

    Raises:
        ValueError: the suite has another number of items than the file is about.
    """
    found = dict(parts)
    for suite, shared in corrections[TOGETHER].items():
        if task in shared["tasks"] and suite in parts:
            of = shared["of"]
            if len(parts[suite]["conditions"]["of"]) != len(of):
                raise ValueError(f"{FILE}: {task}, {suite} has other items than it is about.")
            found[suite] = {**parts[suite], "groups": {"names": [str(one) for one in range(max(of) + 1)], "of": of}}
    return found


def _without(suite: str, own: Mapping[str, Any], left_out: Mapping[str, Any] | None) -> dict[str, Any]:
    if left_out is None:
        return dict(own)
    places = set(left_out["at"])
    found: dict[str, Any] = {}
    for metric, sides in own.items():
        found[metric] = {}
        for side, written in sides.items():
            scores = values(written)
            if len(scores) != left_out["items"]:
                raise ValueError(f"{FILE}: {suite} has {len(scores)} items, not the {left_out['items']} of it.")
            found[metric][side] = column([None if at in places else score for at, score in enumerate(scores)])
    return found
