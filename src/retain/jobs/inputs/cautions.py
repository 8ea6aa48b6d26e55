"""Remarks on data and chat template that are no problems: a run goes on, and its record tells them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from retain.data.chat_template import Mismatch, mismatch
from retain.data.forms import evenly
from retain.data.item import labels_of
from retain.data.preprocess import Preprocessor
from retain.data.row_limit import of_read
from retain.data.template_source import binds, sources_of, variables_of
from retain.data.texts import folded
from retain.evaluate.tasks.remarks import remarks_on
from retain.jobs.inputs.data import Data

SHOWN_CLASSES = 5

LOOKED_AT = 32
"""Training conversations whose prompts are compared with those at inference, evenly spread."""

_MISMATCHES: dict[Mismatch, str] = {
    "opened": "the chat template opens a reasoning block in every prompt, and {rows} bring no reasoning, so they are "
    "learned without the block that a prompt at inference has. Give the rows their reasoning, or a template that "
    "leaves the block out (--template, or --template-arguments where it has such an argument)",
    "closed": "the chat template closes the reasoning at the end of every prompt, and {rows} bring reasoning, so they "
    "are learned without the mark that a prompt at inference has. Where the template has an argument for it, turn "
    "reasoning on (--template-arguments enable_thinking=true, or thinking=true), or take the reasoning out of the rows",
    "blank": "{rows} bring no reasoning, and the chat template puts an empty reasoning block before their answers, "
    "which a prompt at inference does not have, so the model may reason there. To have it in both, turn reasoning off "
    "where the template has an argument for it (--template-arguments enable_thinking=false)",
}


def cautions(data: Data, preprocessor: Preprocessor) -> list[str]:
    """The remarks on a run: on its suites, its classes and its chat template."""
    return [*remarks_on(data.suites.all), *class_cautions(data), *template_cautions(data, preprocessor)]


def class_cautions(data: Data) -> list[str]:
    """The remarks on classes to learn: written in two ways, or alike but for their case, or one number."""
    told = [f"{of_read('train', data.sample)}: {note}." for note in data.notes]
    alike: dict[str | float, list[str]] = {}
    for label in labels_of(data.train):
        alike.setdefault(_sense(label), []).append(label)
    found = [" and ".join(map(repr, labels)) for labels in alike.values() if len(labels) > 1]
    if found:
        shown = "; ".join(found[:SHOWN_CLASSES])
        told.append(f"train: {shown} differ in case, spaces or digits only and are learned as classes apart.")
    return told


def _sense(label: str) -> str | float:
    """What a class is called, in whichever case; the number that it is: 01 and 1.0 are 1."""
    try:
        number = float(label)
    except ValueError:
        return folded(label)
    return number if math.isfinite(number) else folded(label)


def template_cautions(data: Data, preprocessor: Preprocessor) -> list[str]:
    """The remarks on the chat template, where the training rows go through it."""
    chats: list[Any] = [item for item in data.train if item.is_chat]
    if not chats or not preprocessor.reads_text:
        return []
    found = _date_caution(preprocessor.tokenizer)
    seen: Sequence[Any] = evenly(chats, LOOKED_AT)
    counts = Counter(kind for one in seen if (kind := mismatch(preprocessor.tokenizer, one)) is not None)
    for kind, count in sorted(counts.items()):
        rows = "the rows" if count == len(seen) else f"{count} of {len(seen)} rows looked at"
        found.append(f"train: {_MISMATCHES[kind].format(rows=rows)}.")
    return found


def _date_caution(tokenizer: Any) -> list[str]:
    reads = frozenset().union(*map(variables_of, sources_of(tokenizer)))
    if "strftime_now" not in reads or all(binds(source, "date_string") for source in sources_of(tokenizer)):
        return []
    cure = (
        "--template-arguments date_string=… fixes it"
        if "date_string" in reads
        else "a copy of it with a fixed date, as --template FILE, would not"
    )
    return [f"train: the chat template writes the day's date into prompts, so another day's run differs; {cure}."]
