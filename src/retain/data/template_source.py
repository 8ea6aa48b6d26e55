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

from retain.errors import InputError

_SPECIALS = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
_CONTENT = "zq7kv"
"""A word that no template writes of itself."""


class _Generation(Extension):
    """The block of transformers that marks what an assistant writes; only its content counts here."""

    tags = {"generation"}  # noqa: RUF012  (as jinja2 declares it)

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
    head = "".join(f"{_bound(name)} {_literal(value)} %}}{{% endif +%}}" for name, value in sorted(arguments.items()))
    return source if source.startswith(head) else head + source


def binds(source: str, name: str) -> bool:
    """True where `with_arguments` gave a template a value for a variable."""
    return _bound(name) in source


def _bound(name: str) -> str:
    return f"{{%- if {name} is not defined %}}{{% set {name} ="


def give_template(tokenizer: Any, template: str | None, arguments: Mapping[str, Any]) -> None:
    """Give a tokenizer another chat template, and values for the arguments of its template.

    Args:
        tokenizer: of a language model.
        template: the source; None for the one that it has.
        arguments: JSON values by name.

    Raises:
        InputError: it is no template, or it never reads an argument.
    """
    if template is not None:
        try:
            variables_of(template)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            where = "" if line is None else f", line {line}"
            raise InputError(f"template: is no chat template that Jinja reads ({error}{where}).") from error
        tokenizer.chat_template = template
    if not arguments:
        return
    own = tokenizer.chat_template
    if not own:
        raise InputError(
            "template_arguments: this model's tokenizer has no chat template to give them to; give one as --template "
            "FILE."
        )
    sources = dict(own) if isinstance(own, Mapping) else {"": own}
    read = {name: variables_of(source) for name, source in sources.items()}
    known = frozenset().union(*read.values())
    unread = [name for name in arguments if name not in known]
    if unread:
        own_names = ", ".join(sorted(known - _GIVEN)) or "none"
        raise InputError(
            f"template_arguments: the chat template never reads {', '.join(unread)}; its own arguments are: "
            f"{own_names}."
        )
    bound = {
        name: with_arguments(source, {key: value for key, value in arguments.items() if key in read[name]})
        for name, source in sources.items()
    }
    tokenizer.chat_template = bound if isinstance(own, Mapping) else bound[""]


def sources_of(tokenizer: Any) -> list[str]:
    """The sources of a tokenizer's chat templates; there may be several, by name."""
    own = getattr(tokenizer, "chat_template", None)
    if not own:
        return []
    return [str(source) for source in own.values()] if isinstance(own, Mapping) else [str(own)]


_GIVEN = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token", "unk_token", "pad_token"}
    | {"raise_exception", "strftime_now", "namespace", "range", "dict", "true", "false", "none", "lipsum", "cycler"}
)
"""Names that every template is given, or knows."""


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
