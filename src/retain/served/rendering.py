"""How a server turns text and conversations into tokens, by its own word or by its counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retain.served.model import ServedModel, prompt_tokens
from retain.served.transport import ServerError


@dataclass(frozen=True)
class Rendered:
    """What a server makes of a conversation; what it does not tell is None.

    Attributes:
        text: the prompt.
        ids: its tokens.
        count: how many they are.
    """

    text: str | None = None
    ids: tuple[int, ...] | None = None
    count: int | None = None


def own_tokens(model: ServedModel, text: str) -> list[int] | None:
    """The tokens of a text by the server's own tokenizer, none added before it; None where it does not tell."""
    forms = (
        {"content": text, "add_special": False, "parse_special": True},  # llama.cpp
        {"model": model.name, "prompt": text, "add_special_tokens": False},  # vLLM
    )
    for body in forms:
        if (ids := _ids(_value(model, "/tokenize", body))) is not None:
            return ids
    return None


def own_prompt(
    model: ServedModel, messages: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any] | None = None
) -> Rendered:
    """What the server makes of a conversation: its text (llama.cpp), its tokens (vLLM), or how many they are."""
    turns, inputs = list(messages), dict(arguments or {})
    kwargs = {"chat_template_kwargs": inputs} if inputs else {}
    found = _value(model, "/apply-template", {"messages": turns, **kwargs})
    if isinstance(text := found.get("prompt"), str):
        return Rendered(text=text)
    body = {"model": model.name, "messages": turns, "add_generation_prompt": True, **kwargs}
    ids = _ids(_value(model, "/tokenize", body))
    if ids:
        return Rendered(ids=tuple(ids))
    if "chat" not in model.can.writing:
        return Rendered()
    try:
        return Rendered(count=prompt_tokens(model.reply_in_chat(turns, max_tokens=1, **kwargs)))
    except ServerError:
        return Rendered()


def _ids(found: Mapping[str, Any]) -> list[int] | None:
    ids = found.get("tokens")
    right = isinstance(ids, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in ids)
    return ids if right else None


def _value(model: ServedModel, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer beside OpenAI's protocol; nothing where the server knows no such path."""
    try:
        found = model.transport.post(path, body, at_root=True, tries=1)
    except ServerError:
        return {}
    return found if isinstance(found, Mapping) else {}
