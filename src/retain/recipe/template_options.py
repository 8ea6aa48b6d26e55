"""The chat template of a run: another one than the model's, and values for its own arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from retain.recipe.marks import Decides, Flag
from retain.records.paths import expanded

LONGEST_TEMPLATE = 1_000_000
"""The most bytes of a template; those of models have a few thousand."""


class TemplateOptions(BaseModel):
    """The chat template by which base and tuned model are given conversations, the same for both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: Annotated[
        str | None,
        Decides("training", when="template", inherited_by=("from", "scale"), recorded=True),
        Flag("model", "FILE"),
    ] = Field(
        None,
        description="Chat template, a Jinja file, in place of the one beside the model. [the model's own]",
    )
    template_arguments: Annotated[
        tuple[str, ...],
        Decides("training", when="template_arguments", inherited_by=("from", "scale"), recorded=True),
        Flag("model", "NAME=VALUE"),
    ] = Field(
        (),
        description="Arguments of the chat template, as enable_thinking=false; values are JSON or text. A row that "
        "brings its own goes before.",
    )

    @field_validator("template", mode="after")
    @classmethod
    def _content_of_file(cls, value: str | None) -> str | None:
        """The template itself, so that a record holds what was used: a file may change or move."""
        return value if value is None or _is_template(value) else _read(value)

    @field_validator("template_arguments", mode="before")
    @classmethod
    def _as_pairs(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return tuple(f"{name}={json.dumps(each, ensure_ascii=False)}" for name, each in value.items())
        return (value,) if isinstance(value, str) else value

    @field_validator("template_arguments", mode="after")
    @classmethod
    def _named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [pair.partition("=")[0].strip() for pair in value]
        for pair, name in zip(value, names, strict=True):
            if "=" not in pair or not name.isidentifier():
                raise ValueError(f"{pair!r} is no NAME=VALUE; say for instance enable_thinking=false")
            if names.count(name) > 1:
                raise ValueError(f"{name} is given twice")
        return value

    @property
    def template_values(self) -> dict[str, Any]:
        """The arguments of the template by name."""
        pairs = (pair.partition("=") for pair in self.template_arguments)
        return {name.strip(): _value(text.strip()) for name, _, text in pairs}


def _value(text: str) -> Any:
    """JSON, or else the text itself; Python's True, False and None are meant as JSON's."""
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "\n" in text


def _read(name: str) -> str:
    path = expanded(name)
    try:
        if path.stat().st_size > LONGEST_TEMPLATE:
            raise ValueError(f"{name} has more than {LONGEST_TEMPLATE:,} bytes, so it is no chat template")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror or error}); give a Jinja file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is no UTF-8 text; give a Jinja file") from error
    if not _is_template(text):
        raise ValueError(f"{name} holds no chat template: there is no {{{{ … }}}} and no {{% … %}} in it")
    return text
