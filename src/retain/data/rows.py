"""Which kind of item a row is, by its keys, and reading a whole file, folder or data set of one kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retain.data.examples import Choice, Example, parse_choice, parse_example
from retain.data.items import (
    LabelledImage,
    LabelledText,
    Match,
    Question,
    Request,
    parse_labelled_image,
    parse_labelled_text,
    parse_match,
    parse_question,
    parse_request,
)
from retain.data.sources import Numbered, collect_items, source_rows

AnyItem = Example | Choice | Question | LabelledText | LabelledImage | Match | Request

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

FORMS: dict[str, tuple[str, ...]] = {
    "refusal": ("prompt", "harmful"),
    "completion": ("prompt", "completion"),
    "question": ("question", "answers"),
    "choice": ("question", "choices", "answer"),
    "images": ("image", "label"),
    "labels": ("text", "label"),
    "retrieval": ("query", "match"),
}
"""The keys that tell a form of item, looked for in this order. A conversation (`messages`) is a completion."""


@dataclass(frozen=True)
class Rows:
    """The items of one source, all of one form."""

    form: str
    items: Sequence[AnyItem]


def form_of(row: Mapping[str, Any]) -> str | None:
    """The form of item that a row's keys make, or None."""
    if "messages" in row:
        return "completion"
    return next((form for form, keys in FORMS.items() if all(key in row for key in keys)), None)


def read_rows(source: str, problems: list[str], form: str | None = None) -> Rows:
    """Read items from a JSONL or CSV file, a folder of images (one folder a class), or a data set id.

    Args:
        source: where they are; see `sources`.
        problems: receives one sentence for each problem found.
        form: the form that every row must have; None takes that of the first row.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return Rows("images", _folder(folder, problems))
    before = len(problems)
    rows = list(source_rows(source, problems))
    if not rows and len(problems) > before:  # it cannot be read, which is told already
        return Rows(form or "completion", [])
    return parse_rows(source, rows, problems, form, folder.parent)


def parse_rows(
    name: str, rows: Sequence[Numbered], problems: list[str], form: str | None = None, folder: Path | None = None
) -> Rows:
    """Make items of rows that were read already; see `read_rows`."""
    first = next((row for _, row in rows if isinstance(row, Mapping)), None)
    form = form or (form_of(first) if first is not None else None)
    if first is not None and form is None:
        known = "; ".join(", ".join(keys) for keys in FORMS.values())
        problems.append(f"{name}: its rows have {', '.join(map(str, first))}. Known are: {known}; or messages.")
        return Rows("completion", [])
    parse = parser(form or "completion", folder or Path())
    return Rows(form or "completion", collect_items(name, rows, parse, problems))


def parser(form: str, folder: Path) -> Callable[[dict[str, Any]], AnyItem]:
    """The function that makes an item of a row; it raises ValueError with what is wrong."""
    parsers: dict[str, Callable[[dict[str, Any]], AnyItem]] = {
        "refusal": parse_request,
        "completion": parse_example,
        "question": parse_question,
        "choice": parse_choice,
        "images": lambda row: parse_labelled_image(row, folder),
        "labels": parse_labelled_text,
        "retrieval": parse_match,
    }
    return parsers[form]


def _folder(folder: Path, problems: list[str]) -> list[AnyItem]:
    """Images in a folder of folders; each inner folder's name is the class."""
    found: list[AnyItem] = [LabelledImage(image=str(path), label=path.parent.name) for path in _images(folder)]
    if not found:
        problems.append(
            f"{folder}: holds no images in folders named after their classes (CLASS/NAME.png); give such a folder, "
            "or a JSONL or CSV file of image, label."
        )
    return found


def _images(folder: Path) -> Iterator[Path]:
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from sorted(path for path in inner.iterdir() if path.suffix.lower() in IMAGES)


def evenly(items: Sequence[AnyItem], most: int | None) -> Sequence[AnyItem]:
    """At most so many items, taken evenly; items of one group stay together, unless two groups are too many already."""
    if most is None or len(items) <= most:
        return items
    named = [item.group if item.group is not None else index for index, item in enumerate(items)]
    groups = list(dict.fromkeys(named))
    found = list(items)
    for wanted in range(max(2, round(len(groups) * most / len(items))), 1, -1):
        chosen = {groups[place * len(groups) // wanted] for place in range(wanted)}
        found = [item for item, group in zip(items, named, strict=True) if group in chosen]
        if len(found) <= most:
            return found
    return [found[place * len(found) // most] for place in range(most)]


def item_texts(item: AnyItem) -> tuple[str, ...]:
    """What an item asks or shows as text: what overlaps between data sets are looked for in. A image is its path."""
    if isinstance(item, Example):
        return item.turns
    if isinstance(item, (Choice, Question)):
        return (item.question,)
    if isinstance(item, LabelledText):
        return (item.text if item.text_pair is None else f"{item.text} {item.text_pair}",)
    if isinstance(item, LabelledImage):
        return (item.image,)
    return (item.query, item.match) if isinstance(item, Match) else (item.prompt,)
