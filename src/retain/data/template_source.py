"""A chat template's source: what it reads, and which messages it shows, found by asking it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_SPECIALS = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
_CONTENT = "zq7kv"
"""A word that no template writes of itself."""


class _Generation(Extension):
    """The block of transformers that marks what an assistant writes; only its content counts here."""

    tags = frozenset({"generation"})

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Parse a block to its content."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


@dataclass(frozen=True)
class TemplateTraits:
    """What a template does with what it is given.

    Attributes:
        reads: names of the variables that it reads.
        wants_parts: true where it shows the text of a list of parts, and not a plain text.
        drops: roles whose messages it leaves out without a word.
        refuses: roles whose messages it refuses.
    """

    reads: frozenset[str]
    wants_parts: bool
    drops: frozenset[str]
    refuses: frozenset[str]

    @property
    def writes_date(self) -> bool:
        """True where it writes the clock's date into prompts."""
        return "strftime_now" in self.reads


@lru_cache(maxsize=64)
def template_traits(source: str) -> TemplateTraits:
    """The traits of a template.

    Raises:
        TemplateError: it is no template.
    """
    reads = variables_of(source)
    wants_parts = not _shows(source, _user(_CONTENT)) and _shows(source, _user([{"type": "text", "text": _CONTENT}]))
    found = {role: _treatment(source, role, wants_parts=wants_parts) for role in ("system", "developer", "tool")}
    return TemplateTraits(
        reads,
        wants_parts,
        frozenset(role for role, treatment in found.items() if treatment is False),
        frozenset(role for role, treatment in found.items() if treatment is None),
    )


@lru_cache(maxsize=64)
def variables_of(source: str) -> frozenset[str]:
    """The names of the variables that a template reads.

    Raises:
        TemplateError: it is no template.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    return frozenset(meta.find_undeclared_variables(environment.parse(source)))


def with_arguments(source: str, arguments: Mapping[str, Any]) -> str:
    """A template with values for variables that a call leaves open, so that they go where the template goes.

    Args:
        source: the template.
        arguments: JSON values by the variable's name.
    """
    head = "".join(
        f"{{%- if {name} is not defined %}}{{% set {name} = {_literal(value)} %}}{{% endif +%}}"
        for name, value in sorted(arguments.items())
    )
    return head + source


def _literal(value: Any) -> str:
    """A JSON value as Jinja writes it."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(str(key))}: {_literal(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def _treatment(source: str, role: str, *, wants_parts: bool) -> bool | None:
    """True where a role's messages are shown, False where they are left out, None where they are refused."""

    def turn(role: str, text: str, **more: Any) -> dict[str, Any]:
        return {"role": role, "content": [{"type": "text", "text": text}] if wants_parts else text, **more}

    if role == "tool":
        call = {"id": "123456789", "type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}
        answer = turn("tool", _CONTENT, name="look", tool_call_id="123456789")
        turns = [turn("user", "a"), turn("assistant", "", tool_calls=[call]), answer]
    else:
        turns = [turn(role, _CONTENT), turn("user", "a")]
    return _rendered_with(source, turns)


def _shows(source: str, turns: list[dict[str, Any]]) -> bool:
    return _rendered_with(source, turns) is True


def _rendered_with(source: str, turns: list[dict[str, Any]]) -> bool | None:
    from transformers.utils.chat_template_utils import (  # noqa: PLC0415  (slow to import; only conversations need it)
        render_jinja_template,
    )

    try:
        texts, _ = render_jinja_template([turns], chat_template=source, add_generation_prompt=True, **_SPECIALS)
    except (TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return None
    return _CONTENT in texts[0]
