"""Finding data that stands on two sides of a line that must not be crossed: learned from, and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from retain.data.examples import Choice, Example
from retain.data.items import Picture, Question
from retain.data.rows import AnyItem, item_texts

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
    train: Sequence[AnyItem], test: Sequence[AnyItem], keep: Mapping[str, Sequence[AnyItem]], reference: str
) -> list[str]:
    """One sentence for each pair of data sets that share items, with how many and one of them.

    Pictures are the same if their files hold the same bytes; a corrupted picture counts as the picture. A test item is
    shared if its prompt was trained on; where prompts say little by themselves (most of the training's are alike or
    empty), if prompt and completion were. A keep item is shared if its question, or question and right answer, is a
    turn, a paragraph or a whole example of the training data; a paragraph of reference text likewise.
    """
    marks = _Marks()
    learned = {mark for item in train for mark in marks.learned(item)}
    prompts = {fingerprint(item.prompt_text) for item in train if isinstance(item, Example)}
    telling = len(prompts) > len(train) / 2
    measured: dict[str, list[tuple[str, ...]]] = {"test": [_asked_texts(item, telling=telling) for item in test]}
    for name, items in keep.items():
        measured[f"keep suite {name!r}"] = [_asked_texts(item, telling=True) for item in items]
    measured["reference"] = [(text,) for text in _paragraphs(reference)]
    problems = []
    for name, sought in measured.items():
        shared = [texts for texts in sought if any(marks.of(text) in learned for text in texts)]
        if shared:
            problems.append(
                f"train and {name} share {len(shared)} of {len(sought)} items, for instance {quoted(shared[0][0])}; "
                "what is measured must not be trained on: remove them from one side."
            )
    return problems


class _Marks:
    """Fingerprints of texts, and of pictures by their content, each file read once."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def of(self, text: str) -> str:
        """A text's fingerprint; a picture's is that of its file."""
        path = text.removeprefix(_PICTURE)
        if path == text:
            return fingerprint(text)
        if path not in self._files:
            try:
                self._files[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            except OSError:
                self._files[path] = path
        return self._files[path]

    def learned(self, item: AnyItem) -> list[str]:
        """All that counts as seen once an item is trained on."""
        texts = _example_texts(item) if isinstance(item, Example) else _asked_texts(item, telling=True)
        return [self.of(text) for text in texts]


_PICTURE = "picture:"


def _asked_texts(item: AnyItem, *, telling: bool) -> tuple[str, ...]:
    """What must not have been trained on, if an item is to be measured."""
    if isinstance(item, Example):
        return (item.prompt_text if telling and item.prompt_text.strip() else _joined(item),)
    if isinstance(item, Choice):
        return _choice_texts(item)
    if isinstance(item, Question):
        return (item.question, *(f"{item.question} {answer}" for answer in item.answers))
    return (f"{_PICTURE}{item.image}",) if isinstance(item, Picture) else item_texts(item)


def find_contained(
    texts: Sequence[str], test: Sequence[AnyItem], keep: Mapping[str, Sequence[AnyItem]], reference: str
) -> dict[int, str]:
    """Which of the texts hold something that is measured, and what: {index of the text: a sentence}.

    Calibration data are not trained on, but directions taken from the very items that are measured would flatter the
    result. Looked for are questions and prompts (and reference paragraphs) within the texts, case and space folded.
    """
    measured = {"test": [turn for item in test for turn in _asked(item)], "reference": _paragraphs(reference)}
    measured |= {
        f"keep suite {name!r}": [text for item in items for text in _asked(item)] for name, items in keep.items()
    }
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


def _asked(item: AnyItem) -> list[str]:
    """What an item asks, without roles: a prompt, what users say in a conversation, a text to be judged."""
    if isinstance(item, Picture):
        return []
    if not isinstance(item, Example):
        return list(item_texts(item))
    if isinstance(item.prompt, str):
        return [item.prompt]
    return [turn.content for turn in item.prompt if turn.role == "user"]


def passage_text(passage: Example | Picture | str) -> str:
    """A passage to calibrate on as one text; a picture is its path."""
    if isinstance(passage, Picture):
        return passage.image
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
