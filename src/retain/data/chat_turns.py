"""Turns as one chat template takes them: roles that it knows, content in parts, tool calls in its form; or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from retain.data.conversation import Message, call_text
from retain.data.template_source import TemplateTraits
from retain.errors import InputError

Turns = list[dict[str, Any]]

Render = Callable[[Turns], str]
"""Renders turns without a generation prompt; raises InputError where the template refuses them."""


def check_inputs(inputs: dict[str, Any], other_keys: Sequence[str], traits: TemplateTraits) -> None:
    """Refuse what the template would ignore, and what it reads but would not get.

    Raises:
        InputError: there is such a key.
    """
    problems = [
        f'the row has "{key}", and the chat template does not render them: give a template that does as '
        f'--template FILE, or take "{key}" out of the rows.'
        for key in ("tools", "documents")
        if key in inputs and key not in traits.reads
    ]
    own = {"tools", "documents", "enable_thinking", "thinking", "reasoning_effort"}
    unread = [key for key, value in inputs.items() if value and key not in traits.reads and key not in own]
    if unread:
        problems.append(
            f"the row's chat_template_kwargs give {', '.join(unread)}, which the chat template never reads; leave that "
            "out."
        )
    wanted = sorted(traits.reads.intersection(other_keys))
    if wanted:
        problems.append(
            f'the row has {", ".join(wanted)}, which the chat template reads: put it under "chat_template_kwargs" of '
            "the row, or rename the column."
        )
    if problems:
        raise InputError(problems)


def check_tools(render: Render, turns: Turns, inputs: dict[str, Any]) -> None:
    """Refuse a template that reads tools and does not show them.

    Raises:
        InputError: a tool's name is not in its text.
    """
    names = [tool.get("function", tool).get("name") for tool in inputs.get("tools", ())]
    if not names:
        return
    text = render(turns)
    missing = [name for name in names if isinstance(name, str) and name not in text]
    if missing:
        raise InputError(
            f'the row has "tools", and the chat template does not show {", ".join(missing)}: give a template that does '
            'as --template FILE, or take "tools" out of the rows.'
        )


def plain_turn(turn: Message, traits: TemplateTraits) -> dict[str, Any]:
    """A turn as the template takes it: a developer is the system where only that is known.

    Raises:
        InputError: the template leaves turns of this role out.
    """
    fields = {key: value for key, value in dict(turn).items() if key not in {"weight", "train"}}
    if turn.role == "developer" and "developer" in traits.drops | traits.refuses:
        fields["role"] = "system"
    if fields["role"] in traits.drops and (turn.content or "").strip():
        raise InputError(
            f'the chat template leaves out messages of the role "{turn.role}": give a template that shows them as '
            "--template FILE, or put their text into a user's message."
        )
    if turn.content is None:
        del fields["content"]
    return as_parts([fields], traits)[0]


def as_parts(turns: Turns, traits: TemplateTraits) -> Turns:
    """The turns with their content as a list of parts, where the template wants that."""
    if not traits.wants_parts:
        return turns
    return [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]}
        if isinstance(turn.get("content"), str)
        else turn
        for turn in turns
    ]


def written_calls(render: Render, turns: Turns, traits: TemplateTraits) -> Turns:
    """The turns in the form in which the template writes their tool calls right; as they are where there are none.

    Templates differ in whether arguments are a mapping or a JSON text, and whether a call has empty content or none.

    Raises:
        InputError: it writes them in no form.
    """
    calls = [call_text(call) for turn in turns for call in turn.get("tool_calls", ())]
    if not calls:
        return turns
    without = [{key: value for key, value in turn.items() if key != "tool_calls"} for turn in turns]
    bare = _attempt(lambda: render([{"content": "", **turn} for turn in without]))
    bare_text = bare if isinstance(bare, str) else ""
    refused: InputError | None = None
    rendered = False
    for form in _forms(turns, traits):
        text = _attempt(partial(render, form))
        if isinstance(text, InputError):
            refused = refused or text
        elif _calls_right(text, bare_text, turns):
            return form
        else:
            rendered = True
    names = ", ".join(dict.fromkeys(name for name, _ in calls))
    if refused is not None and not rendered:
        raise refused
    raise InputError(
        f"the chat template does not render tool calls as calls ({names}): give a template that does as --template "
        "FILE, or leave out these rows."
    )


def _forms(turns: Turns, traits: TemplateTraits) -> Iterator[Turns]:
    """The forms in which tool calls can be given, the usual one first."""
    empty: Any = [{"type": "text", "text": ""}] if traits.wants_parts else ""
    for arguments_as in (dict, str):
        for fill in (False, True):
            yield [_form_of_turn(turn, arguments_as, empty if fill else None) for turn in turns]


def _form_of_turn(turn: dict[str, Any], arguments_as: type, empty: Any) -> dict[str, Any]:
    if not turn.get("tool_calls"):
        return turn
    calls = []
    for call in turn["tool_calls"]:
        arguments = call_text(call)[1] if arguments_as is str else call["function"]["arguments"]
        calls.append({**call, "function": {**call["function"], "arguments": arguments}})
    filled = {"content": empty} if empty is not None and "content" not in turn else {}
    if empty is not None and turn.get("content") == "":
        return {**{key: value for key, value in turn.items() if key != "content"}, "tool_calls": calls}
    return {**turn, **filled, "tool_calls": calls}


def _calls_right(text: str, bare: str, turns: Turns) -> bool:
    """True where a text holds every call: its name, and its arguments neither as Python nor quoted twice."""
    said = "\n".join(str(turn.get("content", "")) for turn in turns)
    called = [call for turn in turns for call in turn.get("tool_calls", ())]
    for call in called:
        name, arguments = call_text(call)
        times = sum(call_text(other)[0] == name for other in called)
        if text.count(name) - bare.count(name) < times:
            return False
        if not call["function"]["arguments"]:
            continue
        quoted_twice = arguments.replace("\\", "\\\\").replace('"', '\\"')
        for wrong in (str(call["function"]["arguments"]), quoted_twice):
            if text.count(wrong) > said.count(wrong):
                return False
    return True


def _attempt(render: Callable[[], str]) -> str | InputError:
    try:
        return render()
    except InputError as error:
        return error
