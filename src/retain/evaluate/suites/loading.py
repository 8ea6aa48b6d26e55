"""Suites as a recipe names them: by name, by file, as `NAME=COPY` with one's own copy of the data, or plain data.

A copy is a file, a folder or a data set id. No torch here.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from retain.data.columns import renamed
from retain.data.forms import DEFAULT_FORM, form_of, read_rows
from retain.data.item import DataItem
from retain.data.places import Numbered, is_plain_data, missing_sentence, name_of_source, parse_source
from retain.data.sources import collect_items
from retain.data.texts import is_blank
from retain.errors import InputError, sentence
from retain.evaluate.suites.format import (
    SHIPPED,
    Corrupting,
    DataSource,
    LocatedSuite,
    SuiteFile,
    did_you_mean,
    sentence_of,
)
from retain.evaluate.suites.rows_of_suites import RawRows, adapted_rows, dataset_rows, local_rows, source_raw
from retain.evaluate.suites.suite import Part, Suite
from retain.evaluate.tasks.table import TASK_TYPES, known_forms, suite_problems, task_type_of_form
from retain.records.paths import expanded
from retain.records.reading import read_yaml
from retain.records.renamed_columns import RENAMED

PROBED_ROWS = 20

NAMED = ":="
"""Separates a name of one's own from a source."""


def shipped_names() -> list[str]:
    """The names of the suites that come with retain."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def known_suites() -> list[LocatedSuite]:
    """The suites that come with retain, by area and name; each is checked as it is read."""
    problems: list[str] = []
    suites = [suite for name in shipped_names() if (suite := find_suite(name, problems))]
    return sorted(suites, key=lambda suite: (suite.file.area, suite.file.name))


def find_suite(reference: str, problems: list[str]) -> LocatedSuite | None:
    """Read a suite file and check it; its data are not looked at.

    Args:
        reference: a shipped name, or the path of a YAML file.
        problems: receives one sentence for each problem, each with the file's name.
    """
    path = expanded(reference) if _is_yaml(reference) else SHIPPED / f"{reference}.yaml"
    if not _is_yaml(reference) and reference not in shipped_names():
        files = (
            sorted(str(file) for file in Path().glob(f"{reference}.*")) if re.fullmatch(r"[\w-]+", reference) else []
        )
        hint = did_you_mean(reference, shipped_names()) or (f" (there is a file {files[0]})" if files else "")
        problems.append(f"{reference}: there is no suite of this name{hint}. `retain suites` lists them.")
        return None
    try:
        values = read_yaml(path)
    except InputError as error:
        problems += [f"suite file {problem}" for problem in error.problems]
        return None
    if not isinstance(values, dict):
        kind = "nothing" if values is None else type(values).__name__
        problems.append(f"{reference}: a suite is a mapping of fields to values, found {kind}.")
        return None
    try:
        located = LocatedSuite(SuiteFile.model_validate(values), path)
    except ValidationError as error:
        problems += [sentence(f"{reference}: {sentence_of(problem)}") for problem in error.errors()]
        return None
    if located.file.code and not path.with_name(located.file.code).is_file():
        problems.append(f"{reference}: code: there is no {located.file.code} beside the suite file.")
        return None
    return located


def load_suite(reference: str, problems: list[str], part: Part | None = None) -> Suite:
    """Read a suite with its items.

    Args:
        reference: a shipped name, the path of a YAML file, or either with `=COPY`: one's own copy of the data as a
            file, a folder, or a data set id `owner/name[:configuration][:split]`.
        problems: receives one sentence for each problem; the suite then has no items.
        part: `task` or `keep`; None for the part in the suite file.
    """
    name, _, copy = reference.partition("=")
    name = name.partition(RENAMED)[0]  # columns are renamed in plain data and copies; a suite's own file has its fields
    located = find_suite(name, problems)
    if located is None:
        return Suite(Path(name).stem, task_type_of_form(DEFAULT_FORM), part or "keep", ())
    file = located.file
    before = len(problems)
    items, origin = _read(located, file.sources, copy, problems)
    if file.limit is not None and len(items) > file.limit:
        drawn = random.Random(file.seed).sample(range(len(items)), file.limit)  # noqa: S311  (a draw, not a secret)
        items = [items[index] for index in sorted(drawn)]
    if file.options.corruptions is not None:
        items = list(_corrupted(file.name, items, file.options.corruptions, problems))
    bank = _read(located, file.bank, copy, problems)[0] if file.bank and len(problems) == before else []
    facts = {
        "title": file.title,
        "version": file.version,
        "source": f"{origin}; suite file {located.digest}",
        "licence": file.licence,
    }
    options = file.options.model_dump(exclude_none=True, exclude={"corruptions"})
    if file.chance is not None:
        options["chance"] = file.chance
    suite = Suite(file.name, file.task_type, part or file.part, items, bank, options, facts)
    problems += suite_problems(suite) if len(problems) == before else []
    return suite


def as_suite(source: str, part: Part, problems: list[str]) -> Suite:
    """Read what a recipe's `keep` or `test` names: a suite (see `load_suite`), or plain data of one form.

    Plain data are a file or folder of rows, a folder of images (one folder a class) or a data set id. Their columns
    decide their task type, their file their name; `NAME:=SOURCE` gives a suite or data another name.
    """
    named, mark, other = source.partition(NAMED)
    if mark and is_blank(named):
        problems.append(f"{source}: there is no name before {NAMED}.")
    if mark:
        return replace(as_suite(other, part, problems), name=named)
    if is_suite(source):
        return load_suite(source, problems, part)
    obvious = "test" if part == "task" else None
    rows = read_rows(source, problems, forms=known_forms(part), obvious=obvious)
    name = name_of_source(source)
    task_type = task_type_of_form(rows.form)
    place = source.partition(RENAMED)[0]
    suite = Suite(
        name, task_type, part, rows.items, facts={"title": name, "source": Path(place).name or place}, notes=rows.notes
    )
    problems += suite_problems(suite)
    return suite


def is_suite(source: str) -> bool:
    """True where a source names a suite and not plain data. A shipped name wins over a file of the same name."""
    source = source.partition(NAMED)[2] or source
    name = source.partition(RENAMED)[0].partition("=")[0]
    return _is_yaml(name) or name in shipped_names() or not is_plain_data(source)


def local_data(located: LocatedSuite) -> tuple[DataSource, Path] | None:
    """The first source of a suite whose data are on this machine, with their path."""
    for source in located.file.sources:
        for place in located.places(source) if source.local else ():
            if place.exists():
                return source, place
    return None


def _read(
    located: LocatedSuite, sources: Sequence[DataSource], copy: str, problems: list[str]
) -> tuple[list[DataItem], str]:
    """The items of the first source that can be read, and its description for the record."""
    name = located.file.name
    if copy:
        return _read_copy(located, sources, copy, problems)
    missing = []
    for source in sources:
        raw = source_raw(located, source)
        if not raw.missing:
            return _items(located, source, raw, problems), source.place
        missing.append(raw.missing)
    problems.append(
        f"{name}: its data are not here: {'; '.join(missing)}. Prepare them (see docs/guides/suites.md), or give your "
        f"own copy as {name}=PATH."
    )
    return [], ""


def _read_copy(
    located: LocatedSuite, sources: Sequence[DataSource], copy: str, problems: list[str]
) -> tuple[list[DataItem], str]:
    """The items of one's own copy, read as the first of the sources whose columns it has: public data first."""
    public = next((source for source in sources if source.hub), DataSource(hub="none"))
    try:
        given = parse_source(copy)
    except ValueError as error:
        problems.append(sentence(f"{located.file.name}={copy}: {error}"))
        return [], ""
    path = given.path
    here = path is not None and path.exists()
    inside = [place for source in sources for place in located.places(source, path) if source.local and place.exists()]
    if path is None:
        name, *rest = given.text.split(":")
        configuration = rest[0] if len(rest) > 1 else public.configuration if not rest else None
        raw = dataset_rows(name, configuration, rest[-1] if rest else public.split)
    elif not here:
        raw = RawRows(missing=missing_sentence(path))
    elif path.is_dir() and located.file.bank and not inside:
        raw = RawRows(missing="it needs a folder with two tables, or two folders of images, called bank and test")
    else:
        place = inside[0] if path.is_dir() and inside else path
        raw = local_rows(place, given.part, public.split)
        if place.is_dir() and not raw.rows:
            raw = dataset_rows(str(place), public.configuration, given.part or public.split)
    if raw.missing:
        problems.append(f"{located.file.name}={copy}: {raw.missing}.")
        return [], ""
    if given.columns:
        rows = [(place, renamed(row, given.columns) if isinstance(row, Mapping) else row) for place, row in raw.rows]
        raw = replace(raw, rows=rows)
    ordered = sorted(sources, key=lambda source: source.file is not None)
    ordered.append(DataSource(file="items as they are", fields={}))
    fitting = next((source for source in ordered if _fits(located, source, raw)), ordered[0])
    origin = f"own copy {path.resolve().name if path is not None else copy}"
    if fitting is not ordered[-1]:
        origin = f"{origin}, in the form of {fitting.local or fitting.hub}"
    return _items(located, fitting, raw, problems), origin


def _fits(located: LocatedSuite, source: DataSource, raw: RawRows) -> bool:
    problems: list[str] = []
    return bool(_items(located, source, replace(raw, rows=raw.rows[:PROBED_ROWS]), problems)) and not problems


def _items(suite: LocatedSuite, source: DataSource, raw: RawRows, problems: list[str]) -> list[DataItem]:
    """Make items of rows: adapt each, then parse it as a form that the task type takes."""
    row_problems = list(raw.problems)
    adapted: list[Numbered] = []
    for place, row in raw.rows:
        try:
            adapted += [(place, made) for made in adapted_rows(suite, source, row)]
        except Exception as error:  # noqa: BLE001  (a suite's own code may raise anything; the problem names its row)
            known = isinstance(error, ValueError)
            row_problems.append(f"{place}: {error if known else f'{type(error).__name__}: {error}'}.")
    forms = TASK_TYPES[suite.file.task_type].forms
    name = form_of(next((row for _, row in adapted if isinstance(row, Mapping)), {}), known_forms())
    form = next((form for form in forms if form.form == name), forms[0])
    parse = partial(form.parse, folder=raw.folder)
    return collect_items(suite.file.name, adapted, parse, problems, row_problems)


def _corrupted(name: str, items: Sequence[DataItem], corrupting: Corrupting, problems: list[str]) -> Iterator[DataItem]:
    """Each image once for each kind and severity; what is made of one image is one group.

    An image without a group is named by its folder and file, so that the record and the noise are the same wherever
    the data lie.
    """
    for item in items:
        if item.image_file is None:
            problems.append(f"{name}: corruptions are for images, but these items are texts.")
            return
        group = item.group or "/".join(Path(item.image_file).parts[-2:])
        for kind, severity in itertools.product(corrupting.kinds, corrupting.severities):
            corruption = {"corruption": (kind, severity, corrupting.seed), "condition": f"{kind}/{severity}"}
            yield item.model_copy(update={**corruption, "group": group})


def _is_yaml(reference: str) -> bool:
    return reference.endswith((".yaml", ".yml"))
