"""Conversations as people have them, in OpenAI's shape or Hugging Face's, brought to the one that templates take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from retain.data.answers import truth_value
from retain.data.reasoning import part_reasoning
from retain.data.sentences import found
from retain.data.texts import is_blank
from retain.errors import InputError
from retain.records.reading import parse_json

Role = Literal["system", "developer", "user", "assistant", "tool"]

ROLES: tuple[str, ...] = get_args(Role)

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message under which its reasoning may stand, apart from its content."""

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Kinds of content parts that are text, each with the key of the text."""


class Message(BaseModel):
    """One turn of a conversation, in the shape that chat templates take. Other keys reach the template as they are.

    Attributes:
        role: who speaks.
        content: the text; None for a turn that only calls tools.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    role: Role
    content: str | None = None

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls of tools, arguments as mappings."""
        return list((self.model_extra or {}).get("tool_calls") or ())

    @property
    def reasoning(self) -> str | None:
        """The reasoning that stands apart from the content."""
        extra = self.model_extra or {}
        return next((extra[key] for key in REASONING_KEYS if isinstance(extra.get(key), str) and extra[key]), None)

    @property
    def text(self) -> str:
        """What the turn says: its content, and its calls as text."""
        calls = [f"{name} {arguments}" for name, arguments in map(call_text, self.tool_calls)]
        return "\n".join(part for part in (self.content or "", *calls) if part)

    @property
    def answer(self) -> str:
        """What the turn says, without reasoning."""
        content = self.content or ""
        return self.text[len(content) - len(part_reasoning(content).answer) :].strip()

    @property
    def is_blank(self) -> bool:
        """True where there is nothing to answer with: no call, and no visible character beside reasoning."""
        return not self.tool_calls and is_blank(part_reasoning(self.content or "").answer)


def turns_of(value: Any, name: str) -> tuple[Message, ...]:
    """The turns of a list of messages.

    Args:
        value: the list.
        name: of the field, for messages.

    Raises:
        ValueError: in one sentence, what is wrong with it.
    """
    if not isinstance(value, list | tuple):
        raise _wrong(f'field "{name}"', f"expected a list of messages, found {found(value)}")
    if not value:
        raise ValueError(f'field "{name}": the list of messages is empty')
    return tuple(
        turn if isinstance(turn, Message) else _turn(turn, f'field "{name}", message {number}')
        for number, turn in enumerate(value, start=1)
    )


def check_learned(prompt: Sequence[Message], completion: Sequence[Message]) -> None:
    """Refuse a conversation whose answer cannot be learned, or that marks other turns to learn than its answer.

    Raises:
        ValueError: in one sentence, why.
    """
    if completion[-1].role != "assistant":
        raise ValueError('the last message must have the role "assistant": it is what is learned')
    if any(turn.role == "assistant" and turn.is_blank for turn in completion):
        raise ValueError(
            "the completion is empty: the assistant's message to learn has no visible character beside reasoning, "
            "and calls no tool"
        )
    for turn in (*prompt, *completion):
        for key in ("weight", "train"):
            mark = (turn.model_extra or {}).get(key)
            if mark is None or turn.role != "assistant":
                continue
            try:
                marked = truth_value(mark)
            except ValueError as error:
                raise _wrong(f'"{key}" of a message', str(error)) from error
            if marked != any(turn is one for one in completion):
                which = "every assistant's turn before the last" if marked else "the last turn"
                raise ValueError(
                    f'a message has "{key}": {json.dumps(mark)}, which is not followed: the last assistant\'s message '
                    f'is learned and no other. Take "{key}" off {which}, or split the conversation into one row for '
                    "each answer to learn"
                )


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a row: `tools`, or OpenAI's older `functions`; either may be a JSON text.

    Raises:
        ValueError: they are no list of objects.
    """
    tools = _objects(row.get("tools"), "tools")
    functions = _objects(row.get("functions"), "functions")
    tools += [{"type": "function", "function": function} for function in functions]
    return tools


def documents_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The documents of a row.

    Raises:
        ValueError: they are no list of objects.
    """
    return _objects(row.get("documents"), "documents")


def call_text(call: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the function that a call calls, and the arguments as JSON."""
    function = call.get("function", call)
    arguments = function.get("arguments")
    return str(function["name"]), arguments if isinstance(arguments, str) else _json(arguments)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _turn(value: Any, place: str) -> Message:
    if not isinstance(value, Mapping):
        raise _wrong(place, f'expected an object with "role" and "content", found {found(value)}')
    fields = {key: entry for key, entry in value.items() if entry is not None}
    role = fields.pop("role", None)
    if role is None:
        keys = ", ".join(f'"{key}"' for key in fields) or "nothing"
        raise _wrong(place, f'"role" is missing (found {keys})')
    role = {"function": "tool"}.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise _wrong(place, f'"role" is {found(role)}; known are {", ".join(ROLES)}')
    calls = _calls(fields, place)
    content = _content(value, fields, place, may_be_missing=role in {"assistant", "tool"})
    if content is None and not calls:
        content = ""
    extra = {"tool_calls": calls} if calls else {}
    return Message(role=role, content=content, **fields, **extra)


def _content(value: Mapping[str, Any], fields: dict[str, Any], place: str, *, may_be_missing: bool) -> str | None:
    content = fields.pop("content", None)
    if content is None:
        content = fields.pop("refusal", None)  # as OpenAI parts what a model declines
    if content is None:
        if not may_be_missing:
            problem = "is null" if "content" in value else "is missing"
            raise ValueError(
                f'{place}: "content" {problem}, and it is no assistant\'s turn, which may call tools instead'
            )
        return None
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise _wrong(place, f'"content" should be text or a list of text parts, found {found(content)}')
    return "".join(_part(part, place) for part in content)


def _part(part: Any, place: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type", "text") if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        raise _wrong(place, f'a part of "content" should be {{"type": "text", "text": …}}, found {found(part)}')
    if kind in {"tool_use", "tool_result", "tool_call", "thinking", "reasoning"}:
        raise _wrong(
            place,
            f'"content" has a part of type "{kind}"; write calls of tools as "tool_calls" of the message, their '
            'results as messages of the role "tool", and reasoning as "reasoning_content"',
        )
    if kind not in TEXT_PARTS:
        raise _wrong(
            place,
            f'"content" has a part of type "{kind}", and conversations are learned as text alone; leave out '
            "the rows with images, sound or files",
        )
    text = part.get(TEXT_PARTS[kind])
    if not isinstance(text, str):
        raise _wrong(place, f'a part of "content" should be {{"type": "text", "text": …}}, found {found(text)}')
    return text


def _calls(fields: dict[str, Any], place: str) -> list[dict[str, Any]]:
    calls = fields.pop("tool_calls", None) or []
    function = fields.pop("function_call", None)
    if isinstance(calls, str):
        calls = _parsed(calls, f'{place}: "tool_calls"')
    if function is not None:
        calls = [*calls, {"type": "function", "function": function}] if isinstance(calls, list) else calls
    if not isinstance(calls, list | tuple):
        raise _wrong(place, f'"tool_calls" should be a list, found {found(calls)}')
    return [_call(call, f"{place}, tool call {number}") for number, call in enumerate(calls, start=1)]


def _call(call: Any, place: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise _wrong(place, f'expected {{"function": {{"name": …, "arguments": …}}}}, found {found(call)}')
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f'{place}: "arguments"') if arguments.strip() else {}
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise _wrong(place, f'"arguments" should be an object, or one as a JSON text, found {found(arguments)}')
    kept = {key: value for key, value in call.items() if value is not None and key not in {"name", "arguments"}}
    others = {key: value for key, value in function.items() if value is not None and key != "arguments"}
    if function is call:
        kept = {key: value for key, value in others.items() if key not in {"name", "parameters"}}
        others = {"name": function["name"]}
    return {"type": "function", **kept, "function": {**others, "arguments": dict(arguments)}}


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        value = _parsed(value, f'field "{name}"') if value.strip() else None
    if value is None:
        return []
    if not isinstance(value, list | tuple) or not all(isinstance(one, Mapping) for one in value):
        raise _wrong(f'field "{name}"', f"expected a list of objects, found {found(value)}")
    return [dict(one) for one in value]


def _parsed(text: str, place: str) -> Any:
    try:
        return parse_json(text, place)
    except InputError as error:
        raise ValueError("; ".join(error.problems).rstrip(".")) from error


def _wrong(place: str, problem: str) -> ValueError:
    """What is wrong at a place of a row, which every reader of rows expects as a ValueError."""
    return ValueError(f"{place}: {problem}")
