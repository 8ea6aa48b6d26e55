"""The rows of a suite's data: from files, folders of images and data sets, and as the rows of items."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from retain.data.arrow_rows import entries_of, hub_data, is_saved
from retain.data.folders import image_files
from retain.data.places import Numbered
from retain.data.sources import checked_rows, source_rows
from retain.evaluate.suites.format import DataSource, LocatedSuite, condition, is_template, template


@dataclass(frozen=True)
class RawRows:
    """Rows of a source before any is adapted.

    Attributes:
        rows: with the place of each, for messages.
        folder: what paths of images are relative to.
        problems: sentences on rows that cannot be read.
        missing: the reason why there are no rows at all.
    """

    rows: Sequence[Numbered] = ()
    folder: Path = Path()
    problems: Sequence[str] = ()
    missing: str = ""


def source_raw(suite: LocatedSuite, source: DataSource) -> RawRows:
    """The rows of a source, or the reason why there are none."""
    if source.local is None:
        return dataset_rows(source.hub or "", source.configuration, source.split, source.revision)
    places = suite.places(source)
    there = next((place for place in places if place.exists()), None)
    return RawRows(missing=f"no {' or '.join(map(str, places))}") if there is None else local_rows(there)


def local_rows(path: Path, part: str | None = None, obvious: str | None = None) -> RawRows:
    """The rows of a file or a folder of files, or one row for each image below a folder, with its folders.

    Args:
        path: of the file or folder.
        part: the split or the part that is read, where there are several.
        obvious: the one that is read where none is named.
    """
    found = [] if not path.is_dir() or is_saved(path) else image_files(path)
    if not found:
        problems: list[str] = []
        rows = list(source_rows(str(path) if part is None else f"{path}:{part}", problems, obvious))
        return RawRows(rows, path if path.is_dir() else path.parent, problems)
    images = []
    for image in found:
        folders = image.relative_to(path).parts[:-1]
        row = {"image": str(image.absolute()), "name": image.name, "folders": folders}
        images.append((str(image), row | ({"label": folders[-1]} if folders else {})))
    return RawRows(images, path)


def dataset_rows(
    name: str, configuration: str | None = None, split: str = "train", revision: str | None = None
) -> RawRows:
    """The rows of a data set of the hub, or of a folder that `datasets.load_dataset` reads."""
    problems: list[str] = []
    try:
        rows = entries_of(name, hub_data(name, configuration, split, revision)).rows(None)
        return RawRows(list(checked_rows(rows, problems)), Path(), problems)
    except ValueError as error:
        return RawRows(missing=f"{name} cannot be loaded as a data set ({error})")


def adapted_rows(suite: LocatedSuite, source: DataSource, row: Any) -> Iterable[Any]:
    """The rows of items that a row of the data makes: one, none where `where` is false, or those of its code."""
    file = suite.file
    if file.code and source.fields is None:
        return _code(suite.path.with_name(file.code))(row)
    own = source.fields is not None or source.where is not None
    fields, where = (source.fields, source.where) if own else (file.fields, file.where)
    if not isinstance(row, Mapping):
        return [row]
    if where is not None and not _evaluated("where", condition(where), row):
        return []
    return [{name: _value(name, spec, row) for name, spec in fields.items()} if fields else row]


@cache
def _code(path: Path) -> Callable[[Any], Iterable[Any]]:
    """The function `rows(row)` of a Python file beside a suite file.

    Raises:
        ValueError: there is none in it.
    """
    spec = importlib.util.spec_from_file_location(f"retain_suite_{path.stem}", path)
    module = importlib.util.module_from_spec(spec) if spec else None
    if spec is None or spec.loader is None or module is None:
        raise ValueError(f"{path} is no Python file")
    spec.loader.exec_module(module)
    if not hasattr(module, "rows"):
        raise ValueError(f"{path} has no function rows(row)")
    rows: Callable[[Any], Iterable[Any]] = module.rows
    return rows


def _value(name: str, spec: Any, row: Mapping[str, Any]) -> Any:
    """A field of an item: a template's text, a column's value, a list of both, or a constant that is no text.

    Raises:
        ValueError: in one sentence, what the row lacks.
    """
    if isinstance(spec, list):
        return [_value(name, part, row) for part in spec]
    if not isinstance(spec, str):
        return spec
    if is_template(spec):
        return _evaluated(f'field "{name}"', template(spec).render, row)
    value: Any = row
    for step in [spec] if spec in row else re.findall(r"[^.\[\]]+", spec):
        try:
            value = value[int(step)] if isinstance(value, (list, tuple)) else value[step]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            columns = ", ".join(map(str, row)) or "nothing"
            raise ValueError(f'field "{name}": there is no {spec!r} in the row (found {columns})') from error
    return value


def _evaluated(field: str, function: Callable[..., Any], row: Mapping[str, Any]) -> Any:
    try:
        return function({**row, "row": row})
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{field}: {error}") from error
