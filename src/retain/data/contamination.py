"""Finding data that stands on two sides of a line that must not be crossed: learned from, and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from retain.data.examples import Choice, Example
from retain.data.items import LabelledImage, Question, Request
from retain.data.rows import AnyItem, item_texts

SHORTEST_PARAGRAPH = 40
"""Paragraphs of held-out text with fewer characters are not compared: headings recur by chance."""


def fingerprint(text: str) -> str:
    """SHA-256 of the text with case folded and white space collapsed: equal for texts that a reader calls the same."""
    return hashlib.sha256(_folded(text).encode(errors="surrogatepass")).hexdigest()


def content_hash(texts: Iterable[str]) -> str:
    """SHA-256 of a sequence of texts, in order and exactly: the name of a data set's content in the provenance."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    return digest.hexdigest()


def file_hash(path: str) -> str:
    """SHA-256 of a file's bytes, wherever it lies, read once while it stays as it is; no such file: its path."""
    try:
        status = Path(path).stat()
        return _file_digest(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return path


@lru_cache(maxsize=1 << 17)
def _file_digest(path: str, size: int, changed: int) -> str:
    del size, changed  # they tell one state of a file from another
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def item_content(item: AnyItem) -> str:
    """An item as JSON; of a image the hash of its file instead of its path."""
    if isinstance(item, LabelledImage):
        item = item.model_copy(update={"image": file_hash(item.image)})
    return item.model_dump_json(exclude_none=True)


def items_hash(items: Sequence[AnyItem]) -> str:
    """A hash of items' content, the same wherever their images lie."""
    return content_hash(map(item_content, items))


def find_overlaps(
    train: Sequence[AnyItem], test: Sequence[AnyItem], keep: Mapping[str, Sequence[AnyItem]], held_out_text: str
) -> list[str]:
    """One sentence for each pair of data sets that share items, with how many and one of them.

    Images are the same if their files hold the same bytes; a corrupted image counts as the image. A test item is
    shared if its prompt was trained on; where prompts say little by themselves (most of the training's are alike or
    empty), if prompt and completion were. A keep item is shared if its question, or question and right answer, is a
    turn, a paragraph or a whole example of the training data; a paragraph of held-out text likewise.
    """
    learned = {_mark(sought) for item in train for sought in _learned(item)}
    prompts = {fingerprint(item.prompt_text) for item in train if isinstance(item, Example)}
    telling = len(prompts) > len(train) / 2
    measured = {"test": _numbered(test, telling=telling)}
    for name, items in keep.items():
        measured[f"retention suite {name!r}"] = _numbered(items, telling=True)
    measured["held_out_text"] = [(quoted(text), (text,)) for text in _paragraphs(held_out_text)]
    problems = []
    for name, sought in measured.items():
        shared = [shown for shown, parts in sought if any(_mark(part) in learned for part in parts)]
        if shared:
            problems.append(
                f"train and {name} share {len(shared)} of {len(sought)} items, for instance {shared[0]}; "
                "what is measured must not be trained on: remove them from one side."
            )
    return problems


Sought = str | LabelledImage
"""What is looked for on both sides: a text, or a image by its file."""


def _mark(sought: Sought) -> str:
    return file_hash(sought.image) if isinstance(sought, LabelledImage) else fingerprint(sought)


def _learned(item: AnyItem) -> Sequence[Sought]:
    """All that counts as seen once an item is trained on."""
    return _example_texts(item) if isinstance(item, Example) else _asked_parts(item, telling=True)


def _asked_parts(item: AnyItem, *, telling: bool) -> tuple[Sought, ...]:
    """What must not have been trained on, if an item is to be measured."""
    if isinstance(item, Example):
        return (item.prompt_text if telling and item.prompt_text.strip() else _joined(item),)
    if isinstance(item, Choice):
        return _choice_texts(item)
    if isinstance(item, Question):
        return (item.question, *(f"{item.question} {answer}" for answer in item.answers))
    return (item,) if isinstance(item, LabelledImage) else item_texts(item)


def _numbered(items: Sequence[AnyItem], *, telling: bool) -> list[tuple[str, tuple[Sought, ...]]]:
    """What is looked for of each item, and how the item is shown."""
    parts = [_asked_parts(item, telling=telling) for item in items]
    return [(_shown(n, item, part[0]), part) for n, (item, part) in enumerate(zip(items, parts, strict=True), 1)]


def _shown(number: int, item: AnyItem, part: Sought) -> str:
    """An item for people. What safety suites ask may be harmful and stands in no message: they get the number alone."""
    if isinstance(item, Request):
        return f"item {number}"
    return quoted(part.image if isinstance(part, LabelledImage) else part)


def find_contained(
    passages: Sequence[Example | Sought],
    test: Sequence[AnyItem],
    keep: Mapping[str, Sequence[AnyItem]],
    held_out_text: str,
) -> dict[int, str]:
    """Which of the passages hold something that is measured, and what: {index of the passage: a sentence}.

    Calibration data are not trained on, but directions taken from the very items that are measured would flatter the
    result. Looked for are questions and prompts (and reference paragraphs) within the texts, case and space folded;
    images are the same if their files hold the same bytes.
    """
    measured = {"test": test} | {f"retention suite {name!r}": items for name, items in keep.items()}
    asked = [
        (f"{_shown(number, item, text)} of the {name}", text)
        for name, items in measured.items()
        for number, item in enumerate(items, 1)
        for text in _asked(item)
    ]
    asked += [(f"{quoted(text)} of the reference", text) for text in _paragraphs(held_out_text)]
    sought = [(told, needle) for told, text in asked if len(needle := _folded(text)) >= SHORTEST_NEEDLE]
    pictures = {
        file_hash(item.image): f"{quoted(item.image)} of the {name}"
        for name, items in measured.items()
        for item in items
        if isinstance(item, LabelledImage)
    }
    found: dict[int, str] = {}
    for index, passage in enumerate(passages):
        if isinstance(passage, LabelledImage):
            hit = pictures.get(file_hash(passage.image))
        else:
            hay = _folded(passage_text(passage))
            hit = next((told for told, needle in sought if needle in hay), None)
        if hit is not None:
            found[index] = f"it holds {hit}"
    return found


SHORTEST_NEEDLE = 12
"""Shorter items are found in other text by chance."""


def _asked(item: AnyItem) -> list[str]:
    """What an item asks, without roles: a prompt, what users say in a conversation, a text to be judged."""
    if isinstance(item, LabelledImage):
        return []
    if not isinstance(item, Example):
        return list(item_texts(item))
    if isinstance(item.prompt, str):
        return [item.prompt]
    return [turn.content for turn in item.prompt if turn.role == "user"]


def passage_text(passage: Example | LabelledImage | str) -> str:
    """A passage to calibrate on as one text; a image is the hash of its file."""
    if isinstance(passage, LabelledImage):
        return file_hash(passage.image)
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
