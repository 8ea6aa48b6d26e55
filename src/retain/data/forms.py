"""Forms of rows, and files, folders and data sets of one form read as items."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from retain.data.answers import label_notes
from retain.data.collector import without_collector
from retain.data.columns import missing_columns, spread_choices, suggestions
from retain.data.examples import Example
from retain.data.folders import choose, image_classes, image_parts
from retain.data.item import DataItem
from retain.data.item_types import Choice, LabelledImage, LabelledText, Match, Question, Request
from retain.data.meanings import Ways, as_told, marked_reason, misread_reason, same_twice, ways_of
from retain.data.numbers import classes_told, rating_note, scale_told
from retain.data.places import Numbered, parse_source
from retain.data.row_limit import EVERY_ROW, RowLimit, Sample
from retain.data.shapes import Shape, shape_of_row, unseen_reason
from retain.data.sources import collect_items, first_problems, some_rows
from retain.data.unread import unread_note
from retain.errors import sentence
from retain.records.renamed_columns import RENAMED

Forms = Mapping[str, type[DataItem]]

FORMS: Forms = {item.form: item for item in (Request, Example, Question, Choice, LabelledImage, LabelledText, Match)}
"""The forms of items by name. A row is of the first form whose columns it has; task types may bring other forms."""

LEARNED: Forms = {Example.form: Example, **FORMS}
"""The same where a task is learned or tested: a request with a completion is there to be answered, not refused."""

DEFAULT_FORM = Example.form
"""The form that data which cannot be read are taken for."""

PROBED_ROWS = 100
"""Rows among which one of a known form is looked for: in the first of a table a field may be empty."""

CONVERSATION = "messages"
"""The column of conversations, which are examples whatever other columns there are."""


@dataclass(frozen=True)
class Rows:
    """The items of one source, all of one form; notes on them, as clauses; which rows they are of, if not of all."""

    form: str
    items: Sequence[DataItem]
    notes: tuple[str, ...] = ()
    sample: Sample | None = None


def form_of(row: Mapping[str, Any], forms: Forms = FORMS) -> str | None:
    """The form of the item that a row makes, by its keys; None where it makes none."""
    if CONVERSATION in row:
        return Example.form
    return next((name for name, form in forms.items() if all(key in row for key in form.columns)), None)


def read_rows(
    source: str,
    problems: list[str],
    form: str | None = None,
    forms: Forms = FORMS,
    obvious: str | None = None,
    limit: RowLimit = EVERY_ROW,
) -> Rows:
    """Read items from a file, a folder of files or of images (one folder a class), or a data set id.

    Args:
        source: where they are, and which of their columns are renamed; see `places`.
        problems: receives one sentence for each problem.
        form: the form that every row must have; None takes that of the first row.
        forms: the forms that are known.
        obvious: the part that is read of a source with several where none is named.
        limit: how many rows are read; of labelled ones also the first of each class. Images in folders are all listed.
    """
    try:
        found = parse_source(source)
        folder = found.path if found.path is not None and found.path.is_dir() else None
        images = None if folder is None else _images(folder, found.part, obvious, found.text)
    except (OSError, ValueError) as error:
        problems.append(sentence(f"{source}: {error}"))
        return Rows(form or DEFAULT_FORM, [])
    if images is not None:
        return Rows(LabelledImage.form, [LabelledImage(image=str(path), label=label) for label, path in images])
    unread: list[str] = []
    beside = folder or (found.path.parent if found.path is not None else Path())
    with without_collector():
        chosen = some_rows(source, unread, limit, obvious)
        if chosen.sample is not None and _are_labelled(chosen.rows, form, forms, found.columns):
            unread.clear()
            chosen = some_rows(source, unread, limit, obvious, partial(_class_of, columns=found.columns))
        rows = parse_rows(found.text, chosen.rows, problems, form, beside, forms, found.columns, unread)
        return replace(rows, sample=chosen.sample)


def _are_labelled(rows: Sequence[Numbered], form: str | None, forms: Forms, columns: Mapping[str, str]) -> bool:
    """True where rows are of a form with classes, as far as the first of them tell."""
    first = _telling(_first_rows(rows, columns, ways_of(forms.values())), forms)
    form = form or (None if first is None else _form_of_first(first, shape_of_row(first), forms))
    return form is not None and forms[form].is_labelled


def _class_of(row: Any, columns: Mapping[str, str]) -> Hashable:
    """The class of a labelled row as it stands there; none of a row that has none."""
    label = _label_of(row, columns) if isinstance(row, Mapping) else None
    return type(label), str(label)


def _label_of(row: Mapping[str, Any], columns: Mapping[str, str]) -> Any:
    return row.get(columns.get("label", "label"), row.get("label"))


def parse_rows(
    name: str,
    rows: Sequence[Numbered],
    problems: list[str],
    form: str | None = None,
    folder: Path | None = None,
    forms: Forms = FORMS,
    columns: Mapping[str, str] | None = None,
    unread: Sequence[str] = (),
) -> Rows:
    """Make items of rows that were read already; see `read_rows`.

    Args:
        name: of their source, in messages.
        rows: with their places.
        problems: receives one sentence for each problem.
        form: as in `read_rows`.
        folder: what paths of images are relative to.
        forms: as in `read_rows`.
        columns: old names of columns by their new ones.
        unread: problems of rows that could not be read.
    """
    columns = columns or {}
    lacking = missing_columns((row for _, row in rows), columns) if rows else []
    if lacking:
        found = ", ".join(map(str, next((row for _, row in rows if isinstance(row, Mapping)), {})))
        problems.append(f"{name}: columns: no row has {', '.join(map(repr, lacking))} (they have {found}).")
    ways = ways_of(forms.values())
    first = _telling(_first_rows(rows, columns, ways), forms)
    if first is None or lacking:
        problems += first_problems(name, [*unread, *(_no_object(place, row) for place, row in rows if not lacking)])
        if not rows and not unread:
            problems.append(f"{name}: holds no items.")
        return Rows(form or DEFAULT_FORM, [])
    shape, told = shape_of_row(first), form is not None
    form = form or _form_of_first(first, shape, forms)
    if reason := _misread(name, rows, form, forms, columns, () if told else ways):
        problems += [*first_problems(name, unread), sentence(reason)]
        return Rows(form or DEFAULT_FORM, [])
    if form is None:
        problems += first_problems(name, unread)
        problems.append(_unknown(name, first, forms))
        return Rows(DEFAULT_FORM, [])
    made = partial(forms[form].parse, folder=folder or Path())
    parse = partial(_parsed, parse=made, read=forms[form].columns, columns=columns, ways=ways, shape=shape)
    items = collect_items(name, rows, parse, problems, unread)
    notes = _notes(rows, columns) if forms[form].is_labelled and items else ()
    rated = rating_note(first) if form == Example.form else ""
    begun = [row for _, row in islice(rows, PROBED_ROWS) if isinstance(row, dict)]
    return Rows(form, items, (*notes, *filter(None, [same_twice(first, ways), rated, unread_note(begun, parse)])))


def _misread(
    name: str, rows: Sequence[Numbered], form: str | None, forms: Forms, columns: Mapping[str, str], ways: Ways
) -> str:
    """A clause on rows that no form reads as they are meant, with their place; empty where one does."""

    def told() -> Iterator[tuple[str, Mapping[str, Any]]]:
        placed = ((place, row) for place, row in rows if isinstance(row, Mapping))
        return ((place, as_told(row, columns, ways)) for place, row in placed) if columns else placed

    learned, labelled = form in (None, Example.form), form is not None and forms[form].is_labelled
    reason = misread_reason(told(), ways, columns, labelled=labelled, learned=learned)
    if reason:
        return reason
    marked = marked_reason(row for _, row in told()) if form == Example.form else ""
    scale, are_values = scale_told(row.get("label") for _, row in told()) if labelled else ("", False)
    return f"{name}: {marked or scale}" if marked or are_values else ""


def _notes(rows: Sequence[Numbered], columns: Mapping[str, str]) -> tuple[str, ...]:
    """The clauses on the labels of rows that were all read."""
    labels = [_label_of(row, columns) for _, row in rows if isinstance(row, Mapping)]
    try:
        return (*label_notes(labels), *filter(None, [scale_told(labels)[0]]), *classes_told(labels))
    except ValueError:  # a problem, which is told with its row
        return ()


def _parsed(
    row: dict[str, Any],
    parse: Callable[[dict[str, Any]], DataItem],
    read: Sequence[str],
    columns: Mapping[str, str],
    ways: Ways,
    shape: Shape | None,
) -> DataItem:
    """The item of a row whose columns are renamed and whose shape is translated first.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    if columns:
        row = as_told(row, columns, ways)
    if shape is not None and shape.fits(row):
        row = shape.translate(row)
    if reason := unseen_reason(row, read):
        raise ValueError(reason)
    return parse(row)


def _first_rows(rows: Sequence[Numbered], columns: Mapping[str, str], ways: Ways) -> list[dict[str, Any]]:
    return [as_told(row, columns, ways) for _, row in islice(rows, PROBED_ROWS) if isinstance(row, Mapping)]


def _telling(rows: Sequence[dict[str, Any]], forms: Forms) -> dict[str, Any] | None:
    """The first row that is of a known form or shape, else the first; none where there are none."""
    known = (row for row in rows if shape_of_row(row) is not None or form_of(row, forms) is not None)
    return next(known, rows[0] if rows else None)


def _form_of_first(row: dict[str, Any], shape: Shape | None, forms: Forms) -> str | None:
    """The form of a row, or the one that its shape is translated to."""
    if shape is not None:
        try:
            row = shape.translate(row)
        except ValueError:  # told with the place of the row, as those of the other rows
            return shape.form
    return form_of(row, forms)


def _no_object(place: str, row: Any) -> str:
    return f"{place}: expected a JSON object, found {type(row).__name__}."


def _unknown(name: str, row: Mapping[str, Any], forms: Forms) -> str:
    """That rows are of no known form, and what to rename."""
    found = ", ".join(map(str, row)) or "no columns"
    known = "; ".join([*(", ".join(form.columns) for form in forms.values()), CONVERSATION])
    offered = suggestions(row, [(CONVERSATION,), *(form.columns for form in forms.values())])
    if offered:
        ways = " or ".join(f"--columns {pairs}" for pairs in offered)
        cure = f"Rename them in the file, or say {ways} (train and test), or {name}{RENAMED}{offered[0]} (anywhere)."
    elif several := spread_choices(row):
        cure = (
            f"Its choices stand in columns of their own ({', '.join(several)}): write them as one list, choices, with "
            "question and answer beside it, in the file or in the fields of a suite file."
        )
    elif isinstance(row.get("text"), str):
        cure = (
            "A text alone has no class and no answer. To learn all of it, write it as completion behind an empty "
            "prompt; of a conversation written out as text, write the turns as messages."
        )
    else:
        cure = (
            "Rename them in the file, or say --columns NEW=OLD,NEW=OLD (of a table, the first line names the columns)."
        )
    return f"{name}: its rows have {found}. {cure} Known are: {known}."


def _images(folder: Path, part: str | None, obvious: str | None, place: str) -> list[tuple[str, Path]] | None:
    """Images in a folder of folders with their classes. None where there are none.

    Raises:
        ValueError: as a clause, the folder holds several such folders of folders, and none is named.
    """
    if part is not None:
        return (image_classes(folder / part) or None) if (folder / part).is_dir() else None
    if images := image_classes(folder):
        return images
    parts = image_parts(folder)
    return image_classes(choose(parts, None, obvious, place)) if parts else None


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
