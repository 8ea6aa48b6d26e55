"""Suites as small YAML files: what a file may say, where its data are looked for, and how a row becomes an item.

A recipe names a suite by its shipped name, by the path of a YAML file, or as `NAME=COPY`, where COPY is one's own copy
of the data: a file, a folder or a data set id. Plain data are a suite too. No torch here.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import itertools
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from retain.data.corruptions import CORRUPTIONS
from retain.data.items import Picture
from retain.data.rows import PICTURES, AnyItem, form_of, parser, read_rows
from retain.data.sources import FILE_SUFFIXES, Numbered, collect_items, source_rows, suite_name
from retain.evaluation.suites import Part, Suite

SHIPPED = Path(__file__).parent / "shipped"
ASSETS = "RETAIN_ASSETS"
"""Environment variable: the folder of the prepared data; `.assets` where it is not set."""

FORMS: dict[str, tuple[str, ...]] = {
    "completion": ("completion",),
    "choice": ("choice",),
    "question": ("question",),
    "refusal": ("refusal",),
    "labels": ("labels", "pictures"),
    "retrieval": ("retrieval",),
    "neighbours": ("labels", "pictures"),
}
"""The forms of items that each kind takes, as in `retain.evaluation.kinds`, which needs torch."""

PROBED_ROWS = 20
_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

Fields = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Corrupting(_Strict):
    """Each picture is asked once for each kind and severity, instead of as it is."""

    kinds: tuple[str, ...] = Field(tuple(CORRUPTIONS), min_length=1)
    severities: tuple[int, ...] = Field((1, 2, 3, 4, 5), min_length=1)
    seed: int = 0

    @model_validator(mode="after")
    def _known(self) -> Corrupting:
        unknown = [kind for kind in self.kinds if kind not in CORRUPTIONS]
        if unknown:
            raise ValueError(f"kinds: {', '.join(unknown)} not known; known are {', '.join(CORRUPTIONS)}")
        if not all(1 <= severity <= 5 for severity in self.severities):
            raise ValueError("severities: each must be 1 to 5")
        return self


class Options(_Strict):
    """What a kind can be told besides; see `retain.evaluation.kinds`."""

    k: int | None = Field(None, gt=0)
    classes: int | None = Field(None, gt=1)
    generate: int | None = Field(None, ge=0)
    max_new_tokens: int | None = Field(None, gt=0)
    format: Literal["plain", "chat"] | None = None
    corruptions: Corrupting | None = None


class Adapter(_Strict):
    """How a row of the data becomes the row of an item; without fields it is one already."""

    fields: Fields | None = None
    where: str | None = None

    @field_validator("fields")
    @classmethod
    def _templates_can_be_read(cls, fields: Fields | None) -> Fields | None:
        for name, spec in (fields or {}).items():
            for text in spec if isinstance(spec, list) else [spec]:
                if _is_template(text):
                    _checked(_template, text, name)
        return fields

    @field_validator("where")
    @classmethod
    def _condition_can_be_read(cls, where: str | None) -> str | None:
        if where is not None:
            _checked(_condition, where, "it")
        return where


class Source(Adapter):
    """Where data are: a `file`, a `folder` of pictures, or a data set on the `hub`. Its fields replace the suite's."""

    file: str | None = None
    folder: str | None = None
    hub: str | None = None
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None
    made_from: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if sum(place is not None for place in (self.file, self.folder, self.hub)) != 1:
            raise ValueError("a source has exactly one of file, folder and hub")
        return self

    @property
    def local(self) -> str | None:
        """The file or folder, relative to where data are looked for."""
        return self.file or self.folder

    @property
    def place(self) -> str:
        """The source for people."""
        if self.local is not None:
            return f"{self.local} (made from {self.made_from})" if self.made_from else self.local
        return " ".join(filter(None, (self.hub, self.configuration, self.split, self.revision)))


class SuiteFile(Adapter):
    """A suite as its YAML file describes it; docs/guides/suites.md tells what each field means."""

    suite: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(1, ge=1)
    title: str = Field(min_length=1)
    about: str = ""
    area: str = "own"
    kind: str
    part: Part = "keep"
    licence: str = ""
    sources: tuple[Source, ...] = Field(min_length=1)
    bank: tuple[Source, ...] = ()
    code: str | None = None
    metrics: tuple[str, ...] = ()
    chance: float | None = Field(None, ge=0, lt=1)
    limit: int | None = Field(None, gt=0)
    seed: int = 0
    options: Options = Options()

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind not in FORMS:
            raise ValueError(f"{kind!r} is no kind{did_you_mean(kind, FORMS)}; known are {', '.join(FORMS)}")
        return kind

    @field_validator("code")
    @classmethod
    def _code_lies_beside(cls, code: str | None) -> str | None:
        if code is not None and not re.fullmatch(r"\w+\.py", code):
            raise ValueError("must be the bare name of a Python file beside the suite file")
        return code

    @model_validator(mode="after")
    def _whole(self) -> SuiteFile:
        if (self.kind == "neighbours") != bool(self.bank):
            raise ValueError("a bank is what kind neighbours looks in: it needs one, and no other kind has one")
        if self.options.corruptions and "pictures" not in FORMS[self.kind]:
            raise ValueError(f"corruptions are for pictures; kind {self.kind} has none")
        return self


@dataclass(frozen=True)
class Found:
    """A suite file with where it lies."""

    file: SuiteFile
    path: Path

    @property
    def digest(self) -> str:
        """The first 12 digits of the SHA-256 of the file and its code."""
        code = self.path.with_name(self.file.code).read_bytes() if self.file.code else b""
        return hashlib.sha256(self.path.read_bytes() + code).hexdigest()[:12]

    def places(self, source: Source, copy: Path | None = None) -> list[Path]:
        """Where a file or folder of the suite is looked for, first to last; of one's own copy only there."""
        local = source.local or ""
        if copy is not None:
            return [copy / local, copy / Path(local).name, copy / Path(local).stem]
        beside = [] if self.path.parent == SHIPPED else [self.path.parent]
        return [root / local for root in (*beside, Path(os.environ.get(ASSETS) or ".assets").expanduser())]


def shipped_names() -> list[str]:
    """The names of the suites that come with retain."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def known_suites() -> list[Found]:
    """The suites that come with retain, by area and name; each is checked as it is read."""
    problems: list[str] = []
    found = [found for name in shipped_names() if (found := find_suite(name, problems))]
    return sorted(found, key=lambda each: (each.file.area, each.file.name))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


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
        problems += [f"{reference}: {_sentence(problem)}." for problem in error.errors()]
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
    return Suite(file.name, file.kind, part or file.part, items, bank, options, facts)


def as_suite(source: str, part: Part, problems: list[str]) -> Suite:
    """The suite that a recipe's `keep` or `test` names: a suite (see `load_suite`), or plain data of one kind.

    Plain data are a JSONL or CSV file, a folder of pictures (one folder a class) or a data set id; their kind is told
    by their columns, their name by the file.
    """
    if is_suite(source):
        return load_suite(source, problems, part)
    rows = read_rows(source, problems)
    name = suite_name(source)
    kind = "labels" if rows.form == "pictures" else rows.form
    return Suite(name, kind, part, rows.items, facts={"title": name, "source": Path(source).name or source})


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


# Reading: from places to rows, from rows to items


@dataclass(frozen=True)
class Raw:
    """Rows as they lie: with the folder that pictures are relative to, or why there are none."""

    rows: Sequence[Numbered] = ()
    folder: Path = Path()
    told: Sequence[str] = ()
    missing: str = ""


def _read(found: Found, sources: Sequence[Source], copy: str, problems: list[str]) -> tuple[list[AnyItem], str]:
    """The items of the first source that is there, and what they are, for the record."""
    name = found.file.name
    if copy:
        return _read_copy(found, sources, copy, problems)
    missing = []
    for source in sources:
        raw = _raw(found, source)
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
        raw = Raw(missing="it needs a folder with two tables, or two folders of pictures, called bank and test")
    elif path.exists():
        place = inside[0] if path.is_dir() and inside else path
        raw = _local(place)
        if place.is_dir() and not raw.rows:
            raw = _dataset(str(place), public.configuration, public.split)
    else:
        name, *rest = copy.split(":")
        configuration = rest[0] if len(rest) > 1 else public.configuration if not rest else None
        raw = _dataset(name, configuration, rest[-1] if rest else public.split)
    if raw.missing:
        problems.append(f"{found.file.name}={copy}: {raw.missing}.")
        return [], ""
    ordered = sorted(sources, key=lambda source: source.file is not None)
    ordered.append(Source(file="items as they are", fields={}))
    fitting = next((source for source in ordered if _fits(found, source, raw)), ordered[0])
    said = f"own copy {path.resolve().name if path.exists() else copy}"
    like = fitting.local or fitting.hub
    return _items(found, fitting, raw, problems), said if fitting is ordered[-1] else f"{said}, in the form of {like}"


def _raw(found: Found, source: Source) -> Raw:
    if source.local is None:
        return _dataset(source.hub or "", source.configuration, source.split, source.revision)
    places = found.places(source)
    there = next((place for place in places if place.exists()), None)
    return Raw(missing=f"no {' or '.join(map(str, places))}") if there is None else _local(there)


def _local(path: Path) -> Raw:
    """The rows of a file, or of the pictures in a folder of folders with the folders that each lies in."""
    if path.suffix == ".parquet":
        return _dataset("parquet", data_files=str(path))
    if not path.is_dir():
        told: list[str] = []
        return Raw(list(source_rows(str(path), told)), path.parent, told)
    rows = []
    for picture in sorted(inner for inner in path.rglob("*") if inner.suffix.lower() in PICTURES):
        folders = picture.relative_to(path).parts[:-1]
        row = {"image": str(picture.absolute()), "name": picture.name, "folders": folders}
        rows.append((str(picture), row | ({"label": folders[-1]} if folders else {})))
    return Raw(rows, path)


def _dataset(
    name: str, configuration: str | None = None, split: str = "train", revision: str | None = None, **more: Any
) -> Raw:
    """The rows of a data set of `datasets`."""
    import datasets  # noqa: PLC0415  (slow to import; only data sets need it)

    try:
        rows = datasets.load_dataset(name, configuration, split=split, revision=revision, **more)
    except Exception as error:  # noqa: BLE001  (whatever a hub, a cache or a loader may raise is one problem to tell)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Raw(missing=f"{name} cannot be loaded as a data set ({reason})")
    return Raw([(f"{name}, row {number}", row) for number, row in enumerate(rows)])


def _fits(found: Found, source: Source, raw: Raw) -> bool:
    problems: list[str] = []
    return bool(_items(found, source, replace(raw, rows=raw.rows[:PROBED_ROWS]), problems)) and not problems


def _items(found: Found, source: Source, raw: Raw, problems: list[str]) -> list[AnyItem]:
    """Make items of rows: adapt each, then parse it as the suite's kind wants."""
    told = list(raw.told)
    adapted: list[Numbered] = []
    for place, row in raw.rows:
        try:
            adapted += [(place, made) for made in _adapted(found, source, row)]
        except Exception as error:  # noqa: BLE001  (a suite's own code may raise anything; it is told with its row)
            known = isinstance(error, ValueError)
            told.append(f"{place}: {error if known else f'{type(error).__name__}: {error}'}.")
    forms = FORMS[found.file.kind]
    form = form_of(next((row for _, row in adapted if isinstance(row, Mapping)), {}))
    parse = parser(form if form in forms else forms[0], raw.folder)
    return collect_items(found.file.name, adapted, parse, problems, told)


def _adapted(found: Found, source: Source, row: Any) -> Iterable[Any]:
    """The item rows that a row of the data makes: one, none where it is not wanted, or what the suite's code says."""
    file = found.file
    if file.code and source.fields is None:
        return _code(found.path.with_name(file.code))(row)
    own = source.fields is not None or source.where is not None
    fields, where = (source.fields, source.where) if own else (file.fields, file.where)
    if not isinstance(row, Mapping):
        return [row]
    if where is not None and not _evaluated("where", _condition(where), row):
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
    if _is_template(spec):
        return _evaluated(f'field "{name}"', _template(spec).render, row)
    value: Any = row
    for step in [spec] if spec in row else re.findall(r"[^.\[\]]+", spec):
        try:
            value = value[int(step)] if isinstance(value, (list, tuple)) else value[step]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            found = ", ".join(map(str, row)) or "nothing"
            raise ValueError(f'field "{name}": there is no {spec!r} in the row (found {found})') from error
    return value


def _evaluated(what: str, function: Callable[..., Any], row: Mapping[str, Any]) -> Any:
    try:
        return function({**row, "row": row})
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{what}: {error}") from error


def _corrupted(name: str, items: Sequence[AnyItem], asked: Corrupting, problems: list[str]) -> Iterator[Picture]:
    """Each picture once for each kind and severity; what is made of one picture is one group.

    A picture without a group is named by its folder and file, so that the record and the noise are the same wherever
    the data lie.
    """
    for item in items:
        if not isinstance(item, Picture):
            problems.append(f"{name}: corruptions are for pictures, but these items are texts.")
            return
        group = item.group or "/".join(Path(item.image).parts[-2:])
        for kind, severity in itertools.product(asked.kinds, asked.severities):
            how = {"corruption": (kind, severity, asked.seed), "condition": f"{kind}/{severity}", "group": group}
            yield item.model_copy(update=how)


# Templates and sentences


def _is_yaml(reference: str) -> bool:
    return reference.endswith((".yaml", ".yml"))


def _is_template(spec: Any) -> bool:
    return isinstance(spec, str) and ("{{" in spec or "{%" in spec)


@cache
def _template(text: str) -> Any:
    return _TEMPLATES.from_string(text)


@cache
def _condition(text: str) -> Any:
    return _TEMPLATES.compile_expression(text, undefined_to_none=False)


def _checked(read: Callable[[str], Any], text: str, name: str) -> None:
    try:
        read(text)
    except TemplateError as error:
        raise ValueError(f"{name} cannot be read as a template ({error})") from error


def _sentence(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = {**SuiteFile.model_fields, **Source.model_fields, **Options.model_fields}
        return f"{place}: is no field{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{place}: missing"
    return f"{place}: {message}" if place else message
