"""From examples to tokens, as the tokenizer defines it: chat templates, end of sequence, truncation that is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retain.data.examples import Choice, Example
from retain.errors import InputError

IGNORED = -100
"""The label that PyTorch's cross-entropy and transformers leave out of the loss."""


@dataclass(frozen=True)
class Encoded:
    """One sequence: token ids, and where the part that is learned or scored begins.

    `truncated` says that tokens were cut off from the start of the prompt or the end of the completion.
    """

    ids: tuple[int, ...]
    start: int
    truncated: bool = False

    @property
    def labels(self) -> list[int]:
        """The ids with everything before `start` ignored. Not shifted: the loss shifts."""
        return [IGNORED] * self.start + list(self.ids[self.start :])


def encode_example(tokenizer: Any, example: Example, max_length: int) -> Encoded:
    """Tokens of prompt and completion, the completion ended as the tokenizer ends it.

    Texts are tokenised apart and joined, so that the completion's tokens do not depend on the prompt; the
    end-of-sequence token is added. Messages go through the chat template. A sequence longer than `max_length` loses the
    start of its prompt first (what is nearest to the answer stays), then the end of its completion.

    Raises:
        InputError: messages without a chat template, or a template whose rendering of the whole conversation does not
            begin with its rendering of the prompt.
    """
    if example.is_chat:
        prompt, completion = _chat_ids(tokenizer, example)
    else:
        prompt = _prompt_ids(tokenizer, example.prompt_text)
        completion = tokenizer.encode(example.completion_text, add_special_tokens=False)
        if tokenizer.eos_token_id is not None:
            completion = [*completion, tokenizer.eos_token_id]
    return _joined(prompt, completion, max_length)


def encode_prompt(tokenizer: Any, example: Example, max_length: int) -> list[int]:
    """Tokens of the prompt alone, ready to generate from; cut at its start to `max_length`."""
    prompt = _chat_ids(tokenizer, example)[0] if example.is_chat else _prompt_ids(tokenizer, example.prompt_text)
    return prompt[-max_length:]


def encode_choice(tokenizer: Any, item: Choice, *, chat: bool, max_length: int) -> list[Encoded]:
    """One sequence for each choice; scored is the choice's text.

    Plain: question, a space, choice. Chat: the question as the user's message in the chat template, the choice as the
    assistant's reply (without the turn's end, which no plain form has).
    """
    if chat:
        messages = [{"role": "user", "content": item.question}]
        question, glue = _template(tokenizer, messages, add_generation_prompt=True), ""
    else:
        question, glue = _prompt_ids(tokenizer, item.question.rstrip()), " "
    return [
        _joined(question, tokenizer.encode(glue + choice, add_special_tokens=False), max_length)
        for choice in item.choices
    ]


def reference_windows(tokenizer: Any, text: str, window: int, max_tokens: int) -> list[list[int]]:
    """Consecutive windows of `window` tokens of the text, without overlap, `max_tokens` tokens at most.

    A last window shorter than two tokens predicts nothing and is dropped.
    """
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)[:max_tokens]
    windows = [ids[start : start + window] for start in range(0, len(ids), window)]
    return [part for part in windows if len(part) > 1]


def pad(sequences: Sequence[Sequence[int]], value: int, *, left: bool = False) -> list[list[int]]:
    """Sequences filled up to the longest with `value`, at their right or left end."""
    longest = max(map(len, sequences))
    filling = [[value] * (longest - len(sequence)) for sequence in sequences]
    return [
        fill + list(sequence) if left else list(sequence) + fill
        for sequence, fill in zip(sequences, filling, strict=True)
    ]


def _joined(prompt: list[int], completion: list[int], max_length: int) -> Encoded:
    room = max(max_length - len(completion), 1)
    kept = prompt[-room:] if len(prompt) > room else prompt
    ids = (kept + completion)[:max_length]
    return Encoded(tuple(ids), len(kept), truncated=len(ids) < len(prompt) + len(completion))


def _prompt_ids(tokenizer: Any, text: str) -> list[int]:
    # A sequence must begin somewhere: an empty prompt begins with the token that the model knows as a beginning.
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if _adds_bos(tokenizer) or not ids:
        return [first, *ids]
    return ids


def _adds_bos(tokenizer: Any) -> bool:
    probe = tokenizer.encode("a", add_special_tokens=True)
    return tokenizer.bos_token_id is not None and probe[:1] == [tokenizer.bos_token_id]


def _chat_ids(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    prompt = [dict(turn) for turn in example.prompt if not isinstance(turn, str)]
    completion = [dict(turn) for turn in example.completion if not isinstance(turn, str)]
    head = _template(tokenizer, prompt, add_generation_prompt=True)
    whole = _template(tokenizer, prompt + completion, add_generation_prompt=False)
    if whole[: len(head)] != head:
        raise InputError(
            "the chat template renders the conversation differently when the answer is added, so where the answer "
            "begins cannot be told; give prompt and completion as text instead."
        )
    return head, whole[len(head) :]


def _template(tokenizer: Any, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> list[int]:
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "messages need a chat template and this model's tokenizer has none: give prompt and completion as text, "
            "or use the model's instruction-tuned variant."
        )
    ids: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
    )
    return ids
