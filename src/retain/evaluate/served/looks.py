"""A look at what a server makes of prompts, before the long measurement: its template, its tokenizer, its room.

Each difference to the model's own files is a sentence that names it; none of them stops a measurement of what is
served, but for a server that cuts prompts without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retain.data.tokens import Encoded
from retain.errors import InputError
from retain.served.model import Prompt, ServedModel
from retain.served.rendering import own_prompt, own_tokens
from retain.served.transport import ServerError

LOOKED_AT = 8
"""Conversations, and texts, that are compared."""


@dataclass(frozen=True)
class Looked:
    """What was found.

    Attributes:
        template: a sentence on another chat template; empty where there is none, or none is known.
        tokenizer: likewise on another tokenizer.
        sure: what was compared and is the same, in words.
    """

    template: str = ""
    tokenizer: str = ""
    sure: tuple[str, ...] = ()

    @property
    def cautions(self) -> tuple[str, ...]:
        """The sentences that there are."""
        return tuple(filter(None, (self.template, self.tokenizer)))


def look(model: ServedModel, tokenizer: Any, conversations: Sequence[Encoded], texts: Sequence[str]) -> Looked:
    """Compare a server's rendering with that of this machine.

    Args:
        model: behind its server.
        tokenizer: the base's, here.
        conversations: prompts that come from messages.
        texts: of the items.
    """
    template, how = _template(model, tokenizer, conversations[:LOOKED_AT])
    other, same = _tokenizer(model, tokenizer, texts[:LOOKED_AT])
    return Looked(template, other, tuple(filter(None, (how, same))))


def _template(model: ServedModel, tokenizer: Any, conversations: Sequence[Encoded]) -> tuple[str, str]:
    unlike, by = [], ""
    for row in conversations:
        there = own_prompt(model, list(row.messages or ()), row.arguments)
        here = tokenizer.decode(list(row.ids), skip_special_tokens=False)
        if there.text is not None:
            by, same = "text", _bare(there.text, tokenizer) == _bare(here, tokenizer)
            shown = there.text
        elif there.ids is not None:
            by, same, shown = "tokens", there.ids == row.ids, tokenizer.decode(list(there.ids))
        elif there.count is not None:
            by, same = "number of tokens", there.count == len(row.ids)
            shown = f"{there.count} tokens where the model's own template makes {len(row.ids)}"
        else:
            continue
        unlike += [] if same else [shown]
    if not by:
        return "", ""
    if not unlike:
        return "", f"chat template: the same {by} of {len(conversations)} conversations"
    return (
        f"Another chat template: the server renders {len(unlike)} of {len(conversations)} conversations otherwise than "
        f"the model's own tokenizer (by their {by}), as {_short(unlike[0])!r}. What its users are answered is not what "
        "the model was trained on; serve it with the template beside the adapter."
    ), ""


def _tokenizer(model: ServedModel, tokenizer: Any, texts: Sequence[str]) -> tuple[str, str]:
    unlike, seen = [], 0
    for text in texts:
        there = own_tokens(model, text)
        if there is None:
            return "", ""
        seen += 1
        unlike += [text] if there != tokenizer.encode(text, add_special_tokens=False) else []
    if not seen:
        return "", ""
    if not unlike:
        return "", f"tokenizer: the same tokens of {seen} texts"
    return (
        f"Another tokenizer: the server splits {len(unlike)} of {seen} texts otherwise than the model's own, as "
        f"{_short(unlike[0])!r}. It was given the model's own tokens here; its users' text is split otherwise."
    ), ""


def ensure_room(model: ServedModel, filling: Sequence[int], length: int) -> None:
    """Refuse a server that reads less of a prompt than it is given.

    Args:
        model: behind its server.
        filling: tokens to make a prompt of.
        length: of the longest prompt, in tokens.

    Raises:
        InputError: it cuts a prompt of this length, or refuses it.
    """
    if "ids" not in model.can.writing or length < 2:
        return
    ids = (list(filling) * (length // max(len(filling), 1) + 1))[: length - 1]
    try:
        reply = model.write(Prompt(tuple(ids)), 1, (), way="ids")
    except ServerError as error:
        if error.status not in {400, 413, 422}:
            raise
        raise InputError(
            f"max_length: the server refuses a prompt of {len(ids)} tokens ({error}); serve it with a longer context, "
            "or say a smaller --max-length."
        ) from error
    if reply.prompt_tokens is not None and reply.prompt_tokens < len(ids):
        raise InputError(
            f"Truncated context: the server was given a prompt of {len(ids)} tokens and read {reply.prompt_tokens} of "
            "them, without a word. Serve it with a longer context, or say --max-length "
            f"{max(reply.prompt_tokens - 1, 2)}."
        )


def counts_told(unlike: Sequence[tuple[int, int]], checked: int) -> str:
    """A sentence on prompts whose tokens a server counted otherwise; empty where there are none."""
    if not unlike:
        return ""
    here, there = unlike[0]
    cut = sum(two < one for one, two in unlike)
    what = (
        "it cuts them, or has another template"
        if cut > len(unlike) / 2
        else "it puts tokens before them (a beginning token twice), or has another template"
    )
    return (
        f"The server counted other tokens than this machine in {len(unlike)} of {checked} prompts (the first: {there} "
        f"and not {here}): {what}."
    )


def _bare(text: str, tokenizer: Any) -> str:
    """A text without the beginning token, which a server adds when it tokenises."""
    first = tokenizer.bos_token
    return text.removeprefix(first) if isinstance(first, str) else text


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
