"""Finding data that stands on two sides of a line that must not be crossed: learned from, and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from retain.data.examples import Choice, Example

SHORTEST_PARAGRAPH = 40
"""Paragraphs of reference text with fewer characters are not compared: headings recur by chance."""


def fingerprint(text: str) -> str:
    """SHA-256 of the text with case folded and white space collapsed: equal for texts that a reader calls the same."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode(errors="surrogatepass")).hexdigest()


def content_hash(texts: Iterable[str]) -> str:
    """SHA-256 of a sequence of texts, in order and exactly: the name of a data set's content in the provenance."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    return digest.hexdigest()


def find_overlaps(
    train: Sequence[Example], test: Sequence[Example], keep: Mapping[str, Sequence[Choice]], reference: str
) -> list[str]:
    """One sentence for each pair of data sets that share items, with how many and one of them.

    A test item is shared if its prompt was trained on; where prompts say little by themselves (most of the training's
    are alike or empty), if prompt and completion were. A keep item is shared if its question, or question and right
    answer, is a turn, a paragraph or a whole example of the training data; a paragraph of reference text likewise.
    """
    learned = {fingerprint(text) for example in train for text in _example_texts(example)}
    prompts = {fingerprint(example.prompt_text) for example in train}
    telling = len(prompts) > len(train) / 2
    measured: dict[str, list[tuple[str, ...]]] = {
        "test": [
            (example.prompt_text if telling and example.prompt_text.strip() else _joined(example),) for example in test
        ]
    }
    for name, choices in keep.items():
        measured[f"keep suite {name!r}"] = [_choice_texts(choice) for choice in choices]
    measured["reference"] = [(text,) for text in _paragraphs(reference)]
    problems = []
    for name, items in measured.items():
        shared = [texts for texts in items if any(fingerprint(text) in learned for text in texts)]
        if shared:
            problems.append(
                f"train and {name} share {len(shared)} of {len(items)} items, for instance {_short(shared[0][0])}; "
                "what is measured must not be trained on: remove them from one side."
            )
    return problems


def _example_texts(example: Example) -> list[str]:
    turns = list(example.turns)
    return [example.prompt_text, _joined(example), *turns, *(part for turn in turns for part in _paragraphs(turn))]


def _joined(example: Example) -> str:
    return example.prompt_text + " " + example.completion_text


def _choice_texts(choice: Choice) -> tuple[str, ...]:
    return choice.question, choice.question + " " + choice.choices[choice.answer]


def _paragraphs(text: str) -> list[str]:
    return [part for part in text.split("\n") if len(part.strip()) >= SHORTEST_PARAGRAPH]


def _short(text: str, length: int = 60) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[: length - 1] + "…")
