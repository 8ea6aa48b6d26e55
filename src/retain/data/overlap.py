"""Finding data that stands on two sides of a line that must not be crossed: learned from, and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from retain.data.examples import Choice, Example

SHORTEST_PARAGRAPH = 40
"""Paragraphs of reference text with fewer characters are not compared: headings recur by chance."""


def fingerprint(text: str) -> str:
    """SHA-256 of the text with case folded and white space collapsed: equal for texts that a reader calls the same."""
    return hashlib.sha256(_folded(text).encode(errors="surrogatepass")).hexdigest()


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
                f"train and {name} share {len(shared)} of {len(items)} items, for instance {quoted(shared[0][0])}; "
                "what is measured must not be trained on: remove them from one side."
            )
    return problems


def find_contained(
    texts: Sequence[str], test: Sequence[Example], keep: Mapping[str, Sequence[Choice]], reference: str
) -> dict[int, str]:
    """Which of the texts hold something that is measured, and what: {index of the text: a sentence}.

    Calibration data are not trained on, but directions taken from the very items that are measured would flatter the
    result. Looked for are questions and prompts (and reference paragraphs) within the texts, case and space folded.
    """
    measured = {"test": [turn for example in test for turn in _asked(example)], "reference": _paragraphs(reference)}
    measured |= {f"keep suite {name!r}": [choice.question for choice in items] for name, items in keep.items()}
    folded = [(name, item, _folded(item)) for name, items in measured.items() for item in items]
    sought = [(name, item, needle) for name, item, needle in folded if len(needle) >= SHORTEST_NEEDLE]
    found: dict[int, str] = {}
    for index, text in enumerate(texts):
        hay = _folded(text)
        if hit := next(((name, item) for name, item, needle in sought if needle in hay), None):
            found[index] = f"it holds {quoted(hit[1])} of the {hit[0]}"
    return found


SHORTEST_NEEDLE = 12
"""Shorter items are found in other text by chance."""


def _asked(example: Example) -> list[str]:
    """What a test item asks, without roles: a prompt, or what users say in a conversation."""
    if isinstance(example.prompt, str):
        return [example.prompt]
    return [turn.content for turn in example.prompt if turn.role == "user"]


def passage_text(passage: Example | str) -> str:
    """A passage to calibrate on as one text."""
    return passage if isinstance(passage, str) else "\n".join(passage.turns)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _example_texts(example: Example) -> list[str]:
    turns = list(example.turns)
    return [example.prompt_text, _joined(example), *turns, *(part for turn in turns for part in _paragraphs(turn))]


def _joined(example: Example) -> str:
    return example.prompt_text + " " + example.completion_text


def _choice_texts(choice: Choice) -> tuple[str, ...]:
    return choice.question, choice.question + " " + choice.choices[choice.answer]


def _paragraphs(text: str) -> list[str]:
    return [part for part in text.split("\n") if len(part.strip()) >= SHORTEST_PARAGRAPH]


def quoted(text: str, length: int = 60) -> str:
    """The beginning of a text, in quotes, on one line."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= length else flat[: length - 1] + "…")
