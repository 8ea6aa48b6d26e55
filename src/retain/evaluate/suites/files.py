"""Suites by name, by file, or as `NAME=COPY`, where COPY is one's own copy of the data; plain data are a suite too.

A recipe names them so. A copy is a file, a folder or a data set id. No torch here.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from retain.data.items import LabelledImage
from retain.data.rows import AnyItem, form_of, parser, read_rows
from retain.data.sources import FILE_SUFFIXES, Numbered, collect_items, suite_name
from retain.evaluate.suites.format import (
    FORMS,
    SHIPPED,
    Corrupting,
    Found,
    Source,
    SuiteFile,
    did_you_mean,
    sentence_of,
)
from retain.evaluate.suites.rows_of_suites import Raw, adapted_rows, dataset_rows, local_rows, source_raw
from retain.evaluate.suites.suite import Part, Suite, problems_of

PROBED_ROWS = 20

NAMED = ":="
"""Between a name of one's own and a source."""


def shipped_names() -> list[str]:
    """The names of the suites that come with retain."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def known_suites() -> list[Found]:
    """The suites that come with retain, by area and name; each is checked as it is read."""
    problems: list[str] = []
    found = [found for name in shipped_names() if (found := find_suite(name, problems))]
    return sorted(found, key=lambda each: (each.file.area, each.file.name))


def find_suite(reference: str, problems: list[str]) -> Found | None:
    """Read a suite file and check it; its data are not looked at.

    Args:
        reference: a shipped name, or the path of a YAML file.
        problems: receives one sentence for each problem, each with the file's name.
    """
    path = Path(reference).expanduser() if _is_yaml(reference) else SHIPPED / f"{reference}.yaml"
    if not _is_yaml(reference) and reference not in shipped_names():
        hint = did_you_mean(reference, shipped_names())
        problems.append(f"{reference}: there is no suite of this name{hint}. `retain suites` lists them.")
        return None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problems.append(f"{reference}: the suite file cannot be read ({' '.join(str(error).split())}).")
        return None
    if not isinstance(values, dict):
        problems.append(f"{reference}: a suite is a mapping of fields to values, found {type(values).__name__}.")
        return None
    try:
        found = Found(SuiteFile.model_validate(values), path)
    except ValidationError as error:
        problems += [f"{reference}: {sentence_of(problem)}." for problem in error.errors()]
        return None
    if found.file.code and not path.with_name(found.file.code).is_file():
        problems.append(f"{reference}: code: there is no {found.file.code} beside the suite file.")
        return None
    return found


def load_suite(reference: str, problems: list[str], part: Part | None = None) -> Suite:
    """Read a suite with its items.

    Args:
        reference: a shipped name, the path of a YAML file, or either with `=COPY`: one's own copy of the data as a
            file, a folder, or a data set id `owner/name[:configuration][:split]`.
        problems: receives one sentence for each problem; the suite then has no items.
        part: whether it is to be learned or kept. [what its file says]
    """
    name, _, copy = reference.partition("=")
    found = find_suite(name, problems)
    if found is None:
        return Suite(Path(name).stem, "completion", part or "keep", ())
    file = found.file
    before = len(problems)
    items, origin = _read(found, file.sources, copy, problems)
    if file.limit is not None and len(items) > file.limit:
        drawn = random.Random(file.seed).sample(range(len(items)), file.limit)  # noqa: S311  (a draw, not a secret)
        items = [items[index] for index in sorted(drawn)]
    if file.options.corruptions is not None:
        items = list(_corrupted(file.name, items, file.options.corruptions, problems))
    bank = _read(found, file.bank, copy, problems)[0] if file.bank and len(problems) == before else []
    facts = {
        "title": file.title,
        "version": file.version,
        "source": f"{origin}; suite file {found.digest}",
        "licence": file.licence,
    }
    options = file.options.model_dump(exclude_none=True, exclude={"corruptions"})
    if file.chance is not None:
        options["chance"] = file.chance
    suite = Suite(file.name, file.task_type, part or file.part, items, bank, options, facts)
    problems += problems_of(suite) if len(problems) == before else []
    return suite


def as_suite(source: str, part: Part, problems: list[str]) -> Suite:
    """The suite that a recipe's `keep` or `test` names: a suite (see `load_suite`), or plain data of one kind.

    Plain data are a JSONL or CSV file, a folder of images (one folder a class) or a data set id; their kind is told
    by their columns, their name by the file; `NAME:=SOURCE` gives either a name of one's own.
    """
    named, mark, other = source.partition(NAMED)
    if mark:
        return replace(as_suite(other, part, problems), name=named)
    if is_suite(source):
        return load_suite(source, problems, part)
    rows = read_rows(source, problems)
    name = suite_name(source)
    kind = "labels" if rows.form == "images" else rows.form
    suite = Suite(name, kind, part, rows.items, facts={"title": name, "source": Path(source).name or source})
    problems += problems_of(suite)
    return suite


def is_suite(source: str) -> bool:
    """Whether a source names a suite rather than plain data. A shipped name wins over a file of the same name."""
    name = source.partition("=")[0]
    if _is_yaml(name) or name in shipped_names():
        return True
    data = source.endswith(FILE_SUFFIXES) or "/" in source or ":" in source or Path(source).expanduser().exists()
    return not data


def local_data(found: Found) -> tuple[Source, Path] | None:
    """The first source of a suite that is on this machine, and where."""
    for source in found.file.sources:
        for place in found.places(source) if source.local else ():
            if place.exists():
                return source, place
    return None


def _read(found: Found, sources: Sequence[Source], copy: str, problems: list[str]) -> tuple[list[AnyItem], str]:
    """The items of the first source that is there, and what they are, for the record."""
    name = found.file.name
    if copy:
        return _read_copy(found, sources, copy, problems)
    missing = []
    for source in sources:
        raw = source_raw(found, source)
        if not raw.missing:
            return _items(found, source, raw, problems), source.place
        missing.append(raw.missing)
    problems.append(
        f"{name}: its data are not here: {'; '.join(missing)}. Prepare them (see docs/guides/suites.md), or give your "
        f"own copy as {name}=PATH."
    )
    return [], ""


def _read_copy(found: Found, sources: Sequence[Source], copy: str, problems: list[str]) -> tuple[list[AnyItem], str]:
    """The items of one's own copy, read as the first of the sources whose columns it has: public data first."""
    path = Path(copy).expanduser()
    public = next((source for source in sources if source.hub), Source(hub="none"))
    inside = [place for source in sources for place in found.places(source, path) if source.local and place.exists()]
    if path.is_dir() and found.file.bank and not inside:
        raw = Raw(missing="it needs a folder with two tables, or two folders of images, called bank and test")
    elif path.exists():
        place = inside[0] if path.is_dir() and inside else path
        raw = local_rows(place)
        if place.is_dir() and not raw.rows:
            raw = dataset_rows(str(place), public.configuration, public.split)
    else:
        name, *rest = copy.split(":")
        configuration = rest[0] if len(rest) > 1 else public.configuration if not rest else None
        raw = dataset_rows(name, configuration, rest[-1] if rest else public.split)
    if raw.missing:
        problems.append(f"{found.file.name}={copy}: {raw.missing}.")
        return [], ""
    ordered = sorted(sources, key=lambda source: source.file is not None)
    ordered.append(Source(file="items as they are", fields={}))
    fitting = next((source for source in ordered if _fits(found, source, raw)), ordered[0])
    said = f"own copy {path.resolve().name if path.exists() else copy}"
    like = fitting.local or fitting.hub
    return _items(found, fitting, raw, problems), said if fitting is ordered[-1] else f"{said}, in the form of {like}"


def _fits(found: Found, source: Source, raw: Raw) -> bool:
    problems: list[str] = []
    return bool(_items(found, source, replace(raw, rows=raw.rows[:PROBED_ROWS]), problems)) and not problems


def _items(found: Found, source: Source, raw: Raw, problems: list[str]) -> list[AnyItem]:
    """Make items of rows: adapt each, then parse it as the suite's kind wants."""
    told = list(raw.told)
    adapted: list[Numbered] = []
    for place, row in raw.rows:
        try:
            adapted += [(place, made) for made in adapted_rows(found, source, row)]
        except Exception as error:  # noqa: BLE001  (a suite's own code may raise anything; it is told with its row)
            known = isinstance(error, ValueError)
            told.append(f"{place}: {error if known else f'{type(error).__name__}: {error}'}.")
    forms = FORMS[found.file.task_type]
    form = form_of(next((row for _, row in adapted if isinstance(row, Mapping)), {}))
    parse = parser(form if form in forms else forms[0], raw.folder)
    return collect_items(found.file.name, adapted, parse, problems, told)


def _corrupted(name: str, items: Sequence[AnyItem], asked: Corrupting, problems: list[str]) -> Iterator[LabelledImage]:
    """Each image once for each kind and severity; what is made of one image is one group.

    A image without a group is named by its folder and file, so that the record and the noise are the same wherever
    the data lie.
    """
    for item in items:
        if not isinstance(item, LabelledImage):
            problems.append(f"{name}: corruptions are for images, but these items are texts.")
            return
        group = item.group or "/".join(Path(item.image).parts[-2:])
        for kind, severity in itertools.product(asked.kinds, asked.severities):
            how = {"corruption": (kind, severity, asked.seed), "condition": f"{kind}/{severity}", "group": group}
            yield item.model_copy(update=how)


def _is_yaml(reference: str) -> bool:
    return reference.endswith((".yaml", ".yml"))
