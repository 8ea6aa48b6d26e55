"""The format of suite files: small YAML files, checked completely. No torch here."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from retain.data.corruptions import CORRUPTIONS
from retain.evaluate.suites.suite import Part
from retain.evaluate.tasks.table import TASK_TYPES
from retain.recipe.problem_words import words_of
from retain.records.paths import expanded

SHIPPED = Path(__file__).parent / "shipped"
ASSETS = "RETAIN_ASSETS"
"""Environment variable: the folder of the prepared data; `.assets` where it is not set."""

_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)

Fields = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Corrupting(_Strict):
    """Corruptions of images: each image is measured once for each kind and severity, instead of as it is."""

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
    """Options of task types; see `retain.evaluate.tasks`."""

    k: int | None = Field(None, gt=0)
    index: Literal["own", "base"] | None = None
    classes: int | None = Field(None, gt=1)
    generate: int | None = Field(None, ge=0)
    max_new_tokens: int | None = Field(None, gt=0)
    format: Literal["plain", "chat"] | None = None
    corruptions: Corrupting | None = None


class Adapter(_Strict):
    """The way from a row of the data to the row of an item; without fields it is one already."""

    fields: Fields | None = None
    where: str | None = None

    @field_validator("fields")
    @classmethod
    def _templates_can_be_read(cls, fields: Fields | None) -> Fields | None:
        for name, spec in (fields or {}).items():
            for text in spec if isinstance(spec, list) else [spec]:
                if is_template(text):
                    _checked(template, text, name)
        return fields

    @field_validator("where")
    @classmethod
    def _condition_can_be_read(cls, where: str | None) -> str | None:
        if where is not None:
            _checked(condition, where, "it")
        return where


class DataSource(Adapter):
    """A place of data: a `file`, a `folder` of images, or a data set on the `hub`. Its fields replace the suite's."""

    file: str | None = None
    folder: str | None = None
    hub: str | None = None
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None
    made_from: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> DataSource:
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
    """A suite as its YAML file describes it; docs/guides/suites.md explains each field."""

    suite: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(1, ge=1)
    title: str = Field(min_length=1)
    about: str = ""
    area: str = "own"
    task_type: str
    part: Part = "keep"
    licence: str = ""
    sources: tuple[DataSource, ...] = Field(min_length=1)
    bank: tuple[DataSource, ...] = ()
    code: str | None = None
    metrics: tuple[str, ...] = ()
    chance: float | None = Field(None, ge=0, lt=1)
    limit: int | None = Field(None, gt=0)
    seed: int = 0
    options: Options = Options()

    @field_validator("task_type")
    @classmethod
    def _known_task_type(cls, task_type: str) -> str:
        if task_type not in TASK_TYPES:
            known = f"{did_you_mean(task_type, TASK_TYPES)}; known are {', '.join(TASK_TYPES)}"
            raise ValueError(f"{task_type!r} is no task type{known}")
        return task_type

    @field_validator("code")
    @classmethod
    def _code_lies_beside(cls, code: str | None) -> str | None:
        if code is not None and not re.fullmatch(r"\w+\.py", code):
            raise ValueError("must be the bare name of a Python file beside the suite file")
        return code

    @model_validator(mode="after")
    def _fits_the_task_type(self) -> SuiteFile:
        task_type = TASK_TYPES[self.task_type]
        if task_type.needs_bank and not self.bank:
            raise ValueError(f"task type {self.task_type} looks for items in a bank: it needs one")
        if self.bank and not task_type.needs_bank:
            raise ValueError(f"task type {self.task_type} has no use for a bank; leave it out")
        if self.options.corruptions and not task_type.takes_images:
            raise ValueError(f"corruptions are for images; task type {self.task_type} takes none")
        if self.options.index and not task_type.searches:
            searching = ", ".join(name for name, other in TASK_TYPES.items() if other.searches)
            raise ValueError(f"index is for what searches among features ({searching}); leave it out of the options")
        return self


@dataclass(frozen=True)
class LocatedSuite:
    """A suite file with its path."""

    file: SuiteFile
    path: Path

    @property
    def digest(self) -> str:
        """The first 12 digits of the SHA-256 of the file and its code."""
        code = self.path.with_name(self.file.code).read_bytes() if self.file.code else b""
        return hashlib.sha256(self.path.read_bytes() + code).hexdigest()[:12]

    def places(self, source: DataSource, copy: Path | None = None) -> list[Path]:
        """The paths at which data of the suite are looked for, in this order; only in `copy` if there is one."""
        local = source.local or ""
        if copy is not None:
            return [copy / local, copy / Path(local).name, copy / Path(local).stem]
        beside = [] if self.path.parent == SHIPPED else [self.path.parent]
        return [root / local for root in (*beside, expanded(os.environ.get(ASSETS) or ".assets"))]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a mistyped word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=2)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def is_template(spec: Any) -> bool:
    """True for text with a template in it."""
    return isinstance(spec, str) and ("{{" in spec or "{%" in spec)


@cache
def template(text: str) -> Any:
    """A template, compiled once."""
    return _TEMPLATES.from_string(text)


@cache
def condition(text: str) -> Any:
    """An expression, compiled once."""
    return _TEMPLATES.compile_expression(text, undefined_to_none=False)


def _checked(read: Callable[[str], Any], text: str, name: str) -> None:
    try:
        read(text)
    except TemplateError as error:
        raise ValueError(f"{name} cannot be read as a template ({error})") from error


def sentence_of(problem: Any) -> str:
    """A problem that pydantic found, as a sentence."""
    place = ".".join(str(part) for part in problem["loc"])
    message = words_of(problem)
    if problem["type"] == "extra_forbidden":
        known = {**SuiteFile.model_fields, **DataSource.model_fields, **Options.model_fields}
        return f"{place}: is no field{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{place}: missing"
    return f"{place}: {message}" if place else message
