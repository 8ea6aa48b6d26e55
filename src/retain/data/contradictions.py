"""Rows that contradict one another: the same is asked, and the right answer differs. A caution.

Rows are compared as copies are in training data: case and white space folded, images by their files. Completions are
left out, because a prompt may have several good ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from retain.data.item import DataItem
from retain.data.texts import quoted


def contradictions_clause(items: Sequence[DataItem]) -> str:
    """A clause on the items that contradict one another, with their number and one of them; empty where none do."""
    right: dict[Hashable, set[str]] = defaultdict(set)
    known = [
        (number, item, answer) for number, item in enumerate(items, 1) if (answer := item.right_answer) is not None
    ]
    asked = [item.asked for _, item, _ in known]
    for key, (_, _, answer) in zip(asked, known, strict=True):
        right[key].add(answer)
    wrong = [one for key, one in zip(asked, known, strict=True) if len(right[key]) > 1]
    if not wrong:
        return ""
    number, item, _ = wrong[0]
    key = item.asked
    differing = sum(len(answers) > 1 for answers in right.values())
    named = f"row {number}" if item.withheld else quoted(getattr(item, "shown", item.texts[0]))
    answers = " and ".join(map(repr, sorted(right[key])))
    return (
        f"{len(wrong)} rows contradict one another: {differing} {'is' if differing == 1 else 'are'} there with several "
        f"right answers, for instance {named} with {answers}; at most one of them can be met"
    )
