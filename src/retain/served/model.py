"""One model behind a server: likelihoods of given tokens, and greedy answers, in whichever way the server has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from retain.errors import RetainError
from retain.served.store import AnswerStore
from retain.served.tokens import LEAST, Scored, prompt_tokens_scored, scored_tokens
from retain.served.transport import ServerError, Transport

Likelihood = Literal["echo", "prompt_logprobs", "forced", "logits"]
"""How the log-probability of a given token is had:

echo             the server repeats the prompt with the log-probability of each token
prompt_logprobs  the same by a field that vLLM has beside the protocol
forced           token by token: a bias makes the server write the given token, and it tells the log-probability that
                 the token has without the bias
logits           of a file that is read here
"""

Writing = Literal["ids", "text", "chat"]
"""What an answer is written to: token ids, text that the server tokenises, or messages that it renders itself."""

BIAS = 100
"""The largest bias that the protocol has."""

LISTED = (256, 1_000_000)
"""Most likely tokens that are listed where one cannot be forced: some, else all that there are."""


@dataclass(frozen=True)
class Prompt:
    """What an answer is written to, in every form in which a server may want it.

    Attributes:
        ids: token ids, as this machine's tokenizer has them.
        text: the same as text, special tokens written out.
        messages: of a conversation; None for a prompt that is none.
        arguments: of the chat template, and tools.
    """

    ids: tuple[int, ...]
    text: str = ""
    messages: Sequence[Mapping[str, Any]] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """A written answer.

    Attributes:
        text: as the server gives it, without special tokens.
        ids: its tokens; None where the server gives no numbers.
        ended: whether the model ended it, and not the limit.
        prompt_tokens: tokens of the prompt as the server counts them; None where it does not say.
    """

    text: str
    ids: tuple[int, ...] | None
    ended: bool
    prompt_tokens: int | None = None


@dataclass(frozen=True)
class Capabilities:
    """What a server was found to do.

    Attributes:
        writing: what answers are written to, the most exact first; empty where none are written.
        likelihood: how likelihoods of given tokens are had; None where they are not.
        fields: accepted beside the protocol: greedy decoding and nothing else, whatever the server's defaults.
        numbered: accepted so that tokens come as numbers.
        shown: a token that the server shows when it is forced; it shows none that end within a character.
        echo_tokens: the fewest tokens that must be written beside a repeated prompt.
        context: tokens of prompt and answer at most; None where the server does not say.
        server: its name and version as far as it tells.
    """

    writing: tuple[Writing, ...] = ()
    likelihood: Likelihood | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    numbered: Mapping[str, Any] = field(default_factory=dict)
    shown: int | None = None
    echo_tokens: int = 0
    context: int | None = None
    server: str = ""


class LanguageModel(Protocol):
    """What a measurement asks of a model that is no model of transformers."""

    @property
    def name(self) -> str:
        """The model's, where it is served."""

    @property
    def can(self) -> Capabilities:
        """What it was found to do."""

    def likelihoods(self, ids: Sequence[int], start: int) -> list[float]:
        """Log-probability in nats of each token from `start` on, given those before it."""

    def write(self, prompt: Prompt, limit: int, ends: Sequence[int]) -> Reply:
        """The greedy answer to a prompt, of `limit` tokens at most; one of `ends` ends it."""


@dataclass(frozen=True)
class ServedModel:
    """A model behind a server.

    Attributes:
        transport: to the server.
        name: of the model there.
        can: what the server does.
        store: keeps the answers.
        again: tells a second asking from the first, whose answer is kept.
        file: that the server was started for; None for a server that was there.
    """

    transport: Transport
    name: str
    can: Capabilities = Capabilities()
    store: AnswerStore = field(default_factory=lambda: AnswerStore(None, {}))
    again: int = 0
    file: Path | None = None

    def once_more(self) -> ServedModel:
        """The same, asked anew."""
        return replace(self, again=self.again + 1)

    def likelihoods(self, ids: Sequence[int], start: int) -> list[float]:
        """See `LanguageModel`.

        Raises:
            ServerError: the server did not answer, or not with what it had when it was looked at.
        """
        asked = self._asked(ids=list(ids), start=start)
        found: list[float] = self.store.answer(asked, lambda: self._likelihoods(list(ids), start))
        return found

    def write(self, prompt: Prompt, limit: int, ends: Sequence[int], *, way: Writing | None = None) -> Reply:
        """See `LanguageModel`; `way` asks in another way than the most exact one."""
        chosen = self.can.writing[0] if way is None else way
        forms = {"ids": list(prompt.ids), "text": prompt.text, "chat": list(map(dict, prompt.messages or ()))}
        put = forms[chosen]
        asked = self._asked(way=chosen, put=put, arguments=dict(prompt.arguments), limit=limit, ends=list(ends))
        found = self.store.answer(asked, lambda: self._written(chosen, put, prompt, limit, ends))
        ids = None if found["ids"] is None else tuple(found["ids"])
        return Reply(found["text"], ids, found["ended"], found["prompt_tokens"])

    def complete(self, put: str | list[int], **fields: Any) -> dict[str, Any]:
        """The first choice of a completion, with `usage` beside it.

        Raises:
            ServerError: there is none in the answer.
        """
        body = {"model": self.name, "prompt": put, "temperature": 0, **self.can.fields, **fields}
        return first_choice(self.transport.post("/completions", body), self.transport)

    def reply_in_chat(self, messages: Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
        """The same for a conversation."""
        body = {"model": self.name, "messages": list(messages), "temperature": 0, **self.can.fields, **fields}
        return first_choice(self.transport.post("/chat/completions", body), self.transport)

    def _asked(self, **what: Any) -> dict[str, Any]:
        return {"model": self.name, "again": self.again, "likelihood": self.can.likelihood, **what}

    def _likelihoods(self, ids: list[int], start: int) -> list[float]:
        if self.can.likelihood == "forced":
            return [self._forced(ids[:place], ids[place]) for place in range(start, len(ids))]
        if self.can.likelihood == "echo":
            choice = self.complete(ids, max_tokens=self.can.echo_tokens, echo=True, logprobs=1, **self.can.numbered)
            scored = scored_tokens(choice)[: len(ids)]
        elif self.can.likelihood == "prompt_logprobs":
            scored = prompt_tokens_scored(self.complete(ids, max_tokens=1, prompt_logprobs=1), ids)
        else:
            raise RetainError(f"{self.name}: this server gives no likelihood of given text.")
        unlike = [one.id for one, token in zip(scored, ids, strict=False) if one.id not in {None, token}]
        values = [one.logprob for one in scored[start:]]
        if len(scored) < len(ids) or unlike or None in values:
            raise ServerError(
                f"{self.transport.address.url}: the log-probabilities of a prompt of {len(ids)} tokens came for "
                f"{len(scored)} tokens, or for others; it had them right when it was looked at."
            )
        return [_held(value) for value in values if value is not None]

    def _forced(self, before: list[int], token: int) -> float:
        """The log-probability of a token behind others; of one that is not shown when it is forced, from a list."""
        first = self._after(before, token, 1)
        if first is not None and first.id == token and first.logprob is not None:
            return _held(first.logprob)
        if first is None and self.can.shown is not None:
            for longest in LISTED:
                listed = self._after(before, self.can.shown, longest)
                if listed is not None and token in listed.top:
                    return _held(listed.top[token])
        raise ServerError(
            f"{self.transport.address.url}: a bias of {BIAS} did not make the model write token {token}, so its "
            "likelihood is not known here."
        )

    def _after(self, before: list[int], token: int, longest: int) -> Scored | None:
        """The first token that is written when one is forced, with a list of the most likely ones."""
        fields = {"max_tokens": 1, "logprobs": longest, "logit_bias": {str(token): BIAS}, **self.can.numbered}
        return next(iter(scored_tokens(self.complete(before, **fields))), None)

    def _written(self, way: Writing, put: Any, prompt: Prompt, limit: int, ends: Sequence[int]) -> dict[str, Any]:
        if way == "chat":
            inputs = dict(prompt.arguments)
            tools = {"tools": inputs.pop("tools")} if "tools" in inputs else {}
            arguments = {"chat_template_kwargs": inputs} if inputs else {}
            choice = self.reply_in_chat(put, max_tokens=limit, **tools, **arguments)
            message = choice.get("message")
            text, scored = str((message or {}).get("content") or ""), []
            reasoning = (message or {}).get("reasoning_content") or (message or {}).get("reasoning")
            if reasoning:
                text = f"<think>{reasoning}</think>{text}"
        else:
            logprobs = {"logprobs": 1, **self.can.numbered} if self.can.numbered or self.can.likelihood else {}
            choice = self.complete(put, max_tokens=limit, **logprobs)
            text, scored = str(choice.get("text") or ""), scored_tokens(choice)
        ended = choice.get("finish_reason") not in {"length", "max_tokens"}
        ids = [one.id for one in scored]
        if not ids or None in ids or len(ids) != _written_tokens(choice):
            return {"text": text, "ids": None, "ended": ended, "prompt_tokens": prompt_tokens(choice)}
        if ended and ends and not set(ids) & set(ends):
            ids.append(next(iter(ends)))
        return {"text": text, "ids": ids, "ended": ended, "prompt_tokens": prompt_tokens(choice)}


def first_choice(answer: Any, transport: Transport) -> dict[str, Any]:
    """The first choice of an answer with its usage.

    Raises:
        ServerError: it has none.
    """
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise ServerError(f"{transport.address.url}: the answer holds no choices, so it is none of OpenAI's protocol.")
    return {**choices[0], "usage": answer.get("usage"), "fingerprint": answer.get("system_fingerprint")}


def prompt_tokens(choice: Mapping[str, Any]) -> int | None:
    """Tokens of the prompt as the server counts them."""
    return _counted(choice, "prompt_tokens")


def _written_tokens(choice: Mapping[str, Any]) -> int | None:
    """Tokens of the answer as the server counts them; some list fewer, where a character is of several."""
    return _counted(choice, "completion_tokens")


def _counted(choice: Mapping[str, Any], name: str) -> int | None:
    usage = choice.get("usage")
    found = usage.get(name) if isinstance(usage, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def _held(value: float) -> float:
    """A log-probability; one that the server's numbers could not hold is the least that they can."""
    return value if value > LEAST else -103.97  # ln of the smallest number above 0 in 32 bits
