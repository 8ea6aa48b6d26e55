"""A Trainer's data as texts: to see whether what is measured was trained on, and to divide text by its uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any

from retain.budget.split import split
from retain.data.contamination import find_contained
from retain.data.item import PlainText
from retain.evaluate.suites.suite import Suites
from retain.recipe import KL

TRAINED_SHARE = 1 / 3
"""Share of held-out text that the regularisers read, where they are given no text of their own."""


def without_trained_text(suites: Suites) -> tuple[Suites, list[str]]:
    """Divide held-out text in two: what is measured, and blocks that the regularisers may read while training."""
    measured, trained = split(Suites((), suites.held_out_text), [KL], TRAINED_SHARE)
    return replace(suites, held_out_text=measured.held_out_text), list(trained.held_out_text.values())


def contained_in(name: str, texts: Sequence[str], suites: Suites) -> list[str]:
    """A sentence for each use of data that training reads too: to certify old knowledge, to show what is gone."""
    items = [PlainText(text=text) for text in texts if text.strip()]
    held = find_contained(items, [], suites.keep_items, suites.held_out_text_joined)
    asked = find_contained(items, [], {}, "", suites.gone_items)
    uses = (
        (held, "a limit can be certified only on data that were not trained on: remove them"),
        (asked, "what is gone in the wording trained on may be there in others: ask in other wordings"),
    )
    return [
        f"{name}: {len(found)} of its {len(items)} rows hold what is measured (of one: {next(iter(found.values()))}); "
        f"{why}."
        for found, why in uses
        if found
    ]


def texts_of(dataset: Any, tokenizer: Any) -> list[str]:
    """The texts of a training set: its text columns, turns of conversations, and token ids, decoded.

    Args:
        dataset: rows as mappings; of one without a length, such as a stream, nothing is read.
        tokenizer: decodes columns of token ids; None leaves them out.
    """
    if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        return []
    rows = (dataset[index] for index in range(len(dataset)))
    return [" ".join(_texts(row, tokenizer)) for row in rows if isinstance(row, Mapping)]


def _texts(row: Mapping[str, Any], tokenizer: Any) -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, str):
            yield value
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            yield from (turn["content"] for turn in value if isinstance(turn.get("content"), str))
        elif name.endswith("ids") and name not in _NO_TEXT and tokenizer is not None:
            yield str(tokenizer.decode(value, skip_special_tokens=True))


_NO_TEXT = frozenset({"token_type_ids", "position_ids", "seq_ids"})
"""Columns of whole numbers that are no tokens."""
