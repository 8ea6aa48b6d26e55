"""Forms of rows, and files, folders and data sets of one form read as items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from retain.data.examples import Example
from retain.data.item import DataItem
from retain.data.item_types import Choice, LabelledImage, LabelledText, Match, Question, Request
from retain.data.sources import Numbered, collect_items, source_rows

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

Forms = Mapping[str, type[DataItem]]

FORMS: Forms = {item.form: item for item in (Request, Example, Question, Choice, LabelledImage, LabelledText, Match)}
"""The forms of items by name. A row is of the first form whose columns it has; task types may bring other forms."""

DEFAULT_FORM = Example.form
"""The form that data which cannot be read are taken for."""

CONVERSATION = "messages"
"""The column of conversations, which are examples whatever other columns there are."""


@dataclass(frozen=True)
class Rows:
    """The items of one source, all of one form."""

    form: str
    items: Sequence[DataItem]


def form_of(row: Mapping[str, Any], forms: Forms = FORMS) -> str | None:
    """The form of the item that a row makes, by its keys; None where it makes none."""
    if CONVERSATION in row:
        return Example.form
    return next((name for name, form in forms.items() if all(key in row for key in form.columns)), None)


def read_rows(source: str, problems: list[str], form: str | None = None, forms: Forms = FORMS) -> Rows:
    """Read items from a JSONL or CSV file, a folder of images (one folder a class), or a data set id.

    Args:
        source: where they are; see `sources`.
        problems: receives one sentence for each problem.
        form: the form that every row must have; None takes that of the first row.
        forms: the forms that are known.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return Rows(LabelledImage.form, _folder(folder, problems))
    before = len(problems)
    rows = list(source_rows(source, problems))
    if not rows and len(problems) > before:  # it cannot be read, as the problem says
        return Rows(form or DEFAULT_FORM, [])
    return parse_rows(source, rows, problems, form, folder.parent, forms)


def parse_rows(
    name: str,
    rows: Sequence[Numbered],
    problems: list[str],
    form: str | None = None,
    folder: Path | None = None,
    forms: Forms = FORMS,
) -> Rows:
    """Make items of rows that were read already; see `read_rows`."""
    first = next((row for _, row in rows if isinstance(row, Mapping)), None)
    form = form or (form_of(first, forms) if first is not None else None)
    if first is not None and form is None:
        known = "; ".join(", ".join(known.columns) for known in forms.values())
        problems.append(f"{name}: its rows have {', '.join(map(str, first))}. Known are: {known}; or {CONVERSATION}.")
        return Rows(DEFAULT_FORM, [])
    form = form or DEFAULT_FORM
    parse = partial(forms[form].parse, folder=folder or Path())
    return Rows(form, collect_items(name, rows, parse, problems))


def _folder(folder: Path, problems: list[str]) -> list[DataItem]:
    """Images in a folder of folders; each inner folder's name is the class."""
    found: list[DataItem] = [LabelledImage(image=str(path), label=path.parent.name) for path in _images(folder)]
    if not found:
        problems.append(
            f"{folder}: holds no images in folders named after their classes (CLASS/NAME.png); give such a folder, "
            "or a JSONL or CSV file of image, label."
        )
    return found


def _images(folder: Path) -> Iterator[Path]:
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from sorted(path for path in inner.iterdir() if path.suffix.lower() in IMAGES)


def evenly(items: Sequence[DataItem], most: int | None) -> Sequence[DataItem]:
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


def first_or_evenly(items: Sequence[DataItem], most: int | None) -> Sequence[DataItem]:
    """At most so many items: of labelled ones, which may be sorted by class, evenly many; of others the first."""
    return evenly(items, most) if items and items[0].is_labelled else items[:most]
