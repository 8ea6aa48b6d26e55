"""Tokens with their log-probabilities, of whatever form a server gives them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ID_MARK = "token_id:"
"""What vLLM puts before the number of a token that it was asked to give as a number."""

LEAST = -1e4
"""Nats below which a log-probability stands for one that a server's numbers cannot hold."""


@dataclass(frozen=True)
class Scored:
    """One token.

    Attributes:
        id: its number; None where the server gives texts only.
        logprob: in nats; None where the server has none, as for the first token of a prompt.
        top: of the most likely tokens at its place, by their numbers where the server gives those.
    """

    id: int | None
    logprob: float | None
    top: Mapping[int, float] = field(default_factory=dict)


def scored_tokens(choice: Mapping[str, Any]) -> list[Scored]:
    """The tokens of an answer; none where it has no log-probabilities.

    Args:
        choice: an entry of the answer's `choices`, in the form of the completions or of the chat protocol.
    """
    found = choice.get("logprobs")
    if not isinstance(found, Mapping):
        return []
    if isinstance(content := found.get("content"), list):
        return [_of_chat(one) for one in content if isinstance(one, Mapping)]
    tokens, values = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return []
    tops = found.get("top_logprobs")
    tops = tops if isinstance(tops, list) and len(tops) == len(tokens) else [None] * len(tokens)
    return [
        Scored(_id_of(token), number(value), _top_of_mapping(top))
        for token, value, top in zip(tokens, values, tops, strict=True)
    ]


def prompt_tokens_scored(choice: Mapping[str, Any], ids: list[int]) -> list[Scored]:
    """The tokens of a prompt as vLLM gives them under `prompt_logprobs`; none where they are not there."""
    found = choice.get("prompt_logprobs")
    if not isinstance(found, list) or len(found) != len(ids):
        return []
    scored = []
    for token, entry in zip(ids, found, strict=True):
        entries = entry.items() if isinstance(entry, Mapping) else ()
        values = {int(name): one for name, one in entries if str(name).isdigit()}
        top = _known({name: number(one.get("logprob")) for name, one in values.items() if isinstance(one, Mapping)})
        scored.append(Scored(token, top.get(token), top))
    return scored


def number(value: Any) -> float | None:
    """A log-probability as a server gives it: a number, at most a little above 0."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if value <= 1e-3 else None


def _of_chat(entry: Mapping[str, Any]) -> Scored:
    listed = entry.get("top_logprobs")
    tops = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    found = {_number_of(one): number(one.get("logprob")) for one in tops}
    return Scored(_number_of(entry), number(entry.get("logprob")), _known(found))


def _number_of(entry: Mapping[str, Any]) -> int | None:
    given = entry.get("id", entry.get("token_id"))
    return given if isinstance(given, int) and not isinstance(given, bool) else _id_of(entry.get("token"))


def _id_of(token: Any) -> int | None:
    if isinstance(token, str) and token.startswith(ID_MARK) and token.removeprefix(ID_MARK).isdigit():
        return int(token.removeprefix(ID_MARK))
    return None


def _top_of_mapping(top: Any) -> dict[int, float]:
    if not isinstance(top, Mapping):
        return {}
    return _known({_id_of(name): number(value) for name, value in top.items()})


def _known(found: Mapping[int | None, float | None]) -> dict[int, float]:
    return {name: value for name, value in found.items() if name is not None and value is not None}
