"""Rows that contradict one another: the same is asked, and the right answer differs. A caution.

Rows are compared as copies are in training data: case and white space folded, images by their files. Completions are
left out, because a prompt may have several good ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from retain.data.item import DataItem
from retain.data.item_types import Choice, LabelledImage, LabelledText, Request
from retain.data.texts import file_hash, folded, quoted


def contradictions_clause(items: Sequence[DataItem]) -> str:
    """A clause on the items that contradict one another, with their number and one of them; empty where none do."""
    right: dict[Hashable, set[str]] = defaultdict(set)
    known = [(number, item, answer) for number, item in enumerate(items, 1) if (answer := _right(item)) is not None]
    asked = [_asked(item) for _, item, _ in known]
    for key, (_, _, answer) in zip(asked, known, strict=True):
        right[key].add(answer)
    wrong = [one for key, one in zip(asked, known, strict=True) if len(right[key]) > 1]
    if not wrong:
        return ""
    number, item, _ = wrong[0]
    key = _asked(item)
    differing = sum(len(answers) > 1 for answers in right.values())
    named = f"row {number}" if item.withheld else quoted(getattr(item, "shown", item.texts[0]))
    answers = " and ".join(map(repr, sorted(right[key])))
    return (
        f"{len(wrong)} rows contradict one another: {differing} {'is' if differing == 1 else 'are'} there with several "
        f"right answers, for instance {named} with {answers}; at most one of them can be met"
    )


def _right(item: DataItem) -> str | None:
    """The right answer of an item that has one only."""
    if isinstance(item, LabelledText | LabelledImage):
        return item.label
    if isinstance(item, Choice):
        return item.choices[item.answer]
    return str(item.harmful).lower() if isinstance(item, Request) else None


def _asked(item: DataItem) -> Hashable:
    """What an item asks, equal for the same question."""
    if isinstance(item, LabelledImage):
        return file_hash(item.image), item.corruption
    pair = folded(item.text_pair or "") if isinstance(item, LabelledText) else ""
    text = item.text if isinstance(item, LabelledText) else item.texts[0]
    return hash((folded(text), pair, *sorted(map(folded, getattr(item, "choices", ())))))
