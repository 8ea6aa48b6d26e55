"""What a server can do, found by asking it; nothing is concluded from its name.

Servers ignore what they do not know, without a word. So each ability counts only where the answer shows it: a repeated
prompt has a log-probability for each of its tokens, a forced token the one that it has without the bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retain.errors import InputError
from retain.served.model import (
    BIAS,
    Capabilities,
    ServedModel,
    Writing,
    prompt_tokens,
)
from retain.served.tokens import Scored, prompt_tokens_scored, scored_tokens
from retain.served.transport import ServerError, Transport

PROBE_TRIES = 2
"""How often a question is sent whose refusal is an answer."""

SAME = 2e-2
"""Nats between two readings of one token by one server, at most, where the text before it is the same."""

MOST_NAMED = 12
"""Models of a server that a refusal names."""

NEUTRAL: tuple[dict[str, Any], ...] = (
    {"repetition_penalty": 1.0},  # vLLM and TGI take a model's own generation settings as their defaults
    {"repeat_penalty": 1.0, "cache_prompt": True},  # llama.cpp
    {"top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    {"seed": 0},
)
"""Fields that make an answer greedy and nothing else; a server that refuses some is asked without them."""

NUMBERED: tuple[dict[str, Any], ...] = ({}, {"return_tokens_as_token_ids": True})
"""Ways to have tokens as numbers."""


@dataclass(frozen=True)
class Probe:
    """A text to look at a server with.

    Attributes:
        ids: its tokens, some twenty.
        text: the same as text.
        messages: a conversation of one message, in a model that has a chat template; else none.
    """

    ids: tuple[int, ...]
    text: str
    messages: Sequence[Mapping[str, Any]] = ()


def choose_model(transport: Transport, asked: str | None, flag: str) -> str:
    """The name of the model that is asked for, which the server must have.

    Args:
        transport: to the server.
        asked: the name; None for the only one that there is.
        flag: names it in a refusal.

    Raises:
        InputError: the server has no such model, or several and none was named; or it cannot be asked at all.
    """
    try:
        answer = replace_tries(transport).get("/models")
    except ServerError as error:
        if error.status in {0, 401, 403, 429}:
            raise InputError(f"{flag.removesuffix('_model')}: {error}") from error
        names: list[str] = []
    else:
        names = _model_names(answer)
    if asked is not None and (asked in names or not names):
        return asked
    if asked is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")
    told = f"it has {listed}" if names else f"it lists no models{transport.address.hint}"
    if asked is None:
        raise InputError(
            f"{flag}: which model of {transport.address.url} is meant? {told}; say --{_dashed(flag)} NAME."
        )
    raise InputError(f"{flag}: {transport.address.url} has no model {asked!r}; {told}.")


def _dashed(field: str) -> str:
    return field.replace("_", "-")


def _model_names(answer: Any) -> list[str]:
    entries = answer.get("data") if isinstance(answer, Mapping) else answer
    listed = [one for one in entries if isinstance(one, Mapping)] if isinstance(entries, list) else []
    return [one["id"] for one in listed if isinstance(one.get("id"), str)]


def explore(transport: Transport, name: str, probe: Probe) -> Capabilities:
    """Find out what a server can be asked.

    Args:
        transport: to it.
        name: of the model there.
        probe: is put to it, some twenty times.

    Raises:
        InputError: it answers nothing at all.
    """
    model = ServedModel(replace_tries(transport), name)
    refused: list[str] = []
    model = _with_fields(model, probe, refused)
    writing: list[Writing] = []
    ids = list(probe.ids)
    found = _tried(refused, model.complete, ids, max_tokens=1)
    if found is not None and prompt_tokens(found) in {None, len(ids)}:
        writing.append("ids")
    if _tried(refused, model.complete, probe.text, max_tokens=1) is not None:
        writing.append("text")
    if probe.messages and _tried(refused, model.reply_in_chat, probe.messages, max_tokens=1) is not None:
        writing.append("chat")
    if not writing:
        reasons = "; ".join(dict.fromkeys(refused)) or "no reason given"
        raise InputError(f"tuned: the model {name} of {transport.address.url} answers nothing: {reasons}")
    can = replace(model.can, writing=tuple(writing), server=_server(transport), context=_context(transport, name))
    return _with_likelihood(replace(model, can=can), ids) if "ids" in writing else can


def replace_tries(transport: Transport) -> Transport:
    """The same server, asked a question whose refusal is an answer."""
    return replace(transport, tries=min(transport.tries, PROBE_TRIES))


def _with_fields(model: ServedModel, probe: Probe, refused: list[str]) -> ServedModel:
    """The model with the fields that it accepts: all, or else those that it accepts one by one."""

    def answers(one: ServedModel, told: list[str]) -> bool:
        if _tried(told, one.complete, probe.text, max_tokens=1) is not None:
            return True
        return bool(probe.messages) and _tried(told, one.reply_in_chat, probe.messages, max_tokens=1) is not None

    if not answers(model, refused):
        return model
    every = {name: value for group in NEUTRAL for name, value in group.items()}
    whole = replace(model, can=replace(model.can, fields=every))
    if answers(whole, []):
        return whole
    for group in NEUTRAL:
        more = replace(model, can=replace(model.can, fields={**model.can.fields, **group}))
        model = more if answers(more, []) else model
    return model


def _with_likelihood(model: ServedModel, ids: list[int]) -> Capabilities:
    """The abilities with the first way in which likelihoods of given tokens are had; with none where there is none."""
    for numbered in NUMBERED:
        asked = replace(model, can=replace(model.can, numbered=numbered))
        for fewest in (0, 1):
            if _repeats(asked, ids, fewest):
                return replace(asked.can, likelihood="echo", echo_tokens=fewest)
        found = _tried([], asked.complete, ids, max_tokens=1, prompt_logprobs=1)
        if found is not None and _complete(prompt_tokens_scored(found, ids)):
            return replace(asked.can, likelihood="prompt_logprobs")
        for length in range(len(ids), 2, -max(len(ids) // 4, 1)):  # behind one of them something can be seen
            if (token := _forced_token(asked, ids[:length])) is not None:
                return replace(asked.can, likelihood="forced", shown=token)
    return model.can


def _repeats(model: ServedModel, ids: list[int], fewest: int) -> bool:
    """Tell whether a prompt comes back with a log-probability for each token but the first, and no token is lost."""
    fields = {"max_tokens": fewest, "echo": True, "logprobs": 1, **model.can.numbered}
    found = _tried([], model.complete, ids, **fields)
    scored = scored_tokens(found or {})
    if len(scored) not in {len(ids), len(ids) + fewest}:
        return False
    numbers_right = all(one.id in {None, token} for one, token in zip(scored, ids, strict=False))
    return numbers_right and scored[0].logprob is None and _complete(scored[: len(ids)])


def _complete(scored: Sequence[Scored]) -> bool:
    return len(scored) > 1 and all(one.logprob is not None for one in scored[1:])


def _forced_token(model: ServedModel, ids: list[int]) -> int | None:
    """A token that comes, forced, with the log-probability that it has among the most likely ones, unforced."""
    first = _first(_tried([], model.complete, ids, max_tokens=1, logprobs=5, **model.can.numbered))
    if first is None:
        return None
    others = sorted(((value, token) for token, value in first.top.items() if token != first.id), reverse=True)
    for value, token in others:
        fields = {"max_tokens": 1, "logprobs": 1, "logit_bias": {str(token): BIAS}, **model.can.numbered}
        got = _first(_tried([], model.complete, ids, **fields))
        if got is not None and got.id == token and got.logprob is not None:
            return token if math.isclose(got.logprob, value, abs_tol=SAME) else None
    return None


def _first(choice: Mapping[str, Any] | None) -> Scored | None:
    return next(iter(scored_tokens(choice or {})), None)


def _tried(refused: list[str], ask: Callable[..., dict[str, Any]], *what: Any, **fields: Any) -> dict[str, Any] | None:
    """An answer; None where the server refuses, whose reason is added.

    Raises:
        InputError: it cannot be reached, or the key is refused.
    """
    try:
        return ask(*what, **fields)
    except ServerError as error:
        if error.status in {0, 401, 403}:
            raise InputError(f"tuned: {error}") from error
        refused.append(str(error))
        return None


def _server(transport: Transport) -> str:
    """Name and version of the server, as far as it tells: vLLM's /version, llama.cpp's /props."""
    props = _quietly(transport, "/props")
    if isinstance(build := props.get("build_info"), str):
        return f"llama.cpp {build}"[:80]
    version = _quietly(transport, "/version").get("version")
    return f"version {version}"[:80] if isinstance(version, str) else ""


def _context(transport: Transport, name: str) -> int | None:
    """Tokens of prompt and answer at most: of vLLM's list of models, of llama.cpp's /props."""
    props = _quietly(transport, "/props").get("default_generation_settings")
    found = props.get("n_ctx") if isinstance(props, Mapping) else None
    if found is None:
        try:
            entries = transport.get("/models", tries=1).get("data", [])
        except (ServerError, AttributeError):
            entries = []
        named = [one for one in entries if isinstance(one, Mapping) and one.get("id") == name]
        found = named[0].get("max_model_len") if named else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def _quietly(transport: Transport, path: str) -> Mapping[str, Any]:
    try:
        found = transport.get(path, at_root=True, tries=1)
    except ServerError:
        return {}
    return found if isinstance(found, Mapping) else {}
