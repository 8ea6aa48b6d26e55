"""Finding data that stands on two sides of a line that must not be crossed: learned from, and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from retain.data.examples import Choice, Example

SHORTEST_PARAGRAPH = 40
"""Paragraphs of reference text with fewer characters are not compared: headings recur by chance."""


def fingerprint(text: str) -> str:
    """SHA-256 of the text with case folded and white space collapsed: equal for texts that a reader calls the same."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def content_hash(texts: Iterable[str]) -> str:
    """SHA-256 of a sequence of texts, in order and exactly: the name of a data set's content in the provenance."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def find_overlaps(
    train: Sequence[Example], test: Sequence[Example], keep: Mapping[str, Sequence[Choice]], reference: str
) -> list[str]:
    """One sentence for each pair of data sets that share items, with how many and one of them.

    Training data are compared by prompt and by prompt with completion, keep items by question and by question with the
    right answer, reference text by paragraph.
    """
    learned = {fingerprint(text): text for example in train for text in _example_texts(example)}
    learned |= {fingerprint(text): text for example in train for text in _paragraphs(example.prompt_text)}
    measured: dict[str, list[str]] = {"test": [example.prompt_text for example in test]}
    for name, choices in keep.items():
        measured[f"keep suite {name!r}"] = [text for choice in choices for text in _choice_texts(choice)]
    measured["reference"] = list(_paragraphs(reference))
    problems = []
    for name, texts in measured.items():
        shared = [text for text in texts if fingerprint(text) in learned]
        if shared:
            problems.append(
                f"train and {name} share {len(shared)} of {len(texts)} items, for instance {_short(shared[0])}; "
                "what is measured must not be trained on: remove them from one side."
            )
    return problems


def _example_texts(example: Example) -> tuple[str, str]:
    return example.prompt_text, example.prompt_text + " " + example.completion_text


def _choice_texts(choice: Choice) -> tuple[str, str]:
    return choice.question, choice.question + " " + choice.choices[choice.answer]


def _paragraphs(text: str) -> list[str]:
    return [part for part in text.split("\n") if len(part.strip()) >= SHORTEST_PARAGRAPH]


def _short(text: str, length: int = 60) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[: length - 1] + "…")
