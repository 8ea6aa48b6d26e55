"""From examples to tokens as the tokenizer defines it: chat templates, end of sequence, and truncation, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from retain.data.chat_template import chat_text, prompt_text, question_text
from retain.data.lengths import split_room

if TYPE_CHECKING:  # items tokenise themselves by these functions
    from retain.data.examples import Example
    from retain.data.item_types import Choice, Question

IGNORED = -100
"""The label that PyTorch's cross-entropy and transformers leave out of the loss."""

CHARACTERS_A_TOKEN = 200
"""More than the tokens of a long text have on average. What lies further away than this for each token that is kept is
not tokenised: a tokenizer may take minutes for a text of a million characters."""


@dataclass(frozen=True)
class Encoded:
    """One sequence: token ids, and where the part that is learned or scored begins.

    Attributes:
        ids: the token ids.
        start: where the completion begins.
        prompt_cut: whether the start of the prompt was cut off.
        completion_cut: whether the end of the completion was cut off, and the end token with it.
        messages: of a prompt that is a conversation, as its chat template was given them; for servers that render
            conversations themselves.
        arguments: what the template was given beside them.
    """

    ids: tuple[int, ...]
    start: int
    prompt_cut: bool = False
    completion_cut: bool = False
    messages: Sequence[Mapping[str, Any]] | None = field(default=None, compare=False, repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def truncated(self) -> bool:
        """True if anything was cut off."""
        return self.prompt_cut or self.completion_cut

    @property
    def labels(self) -> list[int]:
        """The ids with everything before `start` ignored. Not shifted: the loss shifts."""
        return [IGNORED] * self.start + list(self.ids[self.start :])


def encode_example(tokenizer: Any, example: Example, max_length: int) -> Encoded:
    """Tokens of prompt and completion, the completion ended as the tokenizer ends it.

    Prompt and completion are tokenised together and split where the prompt's own tokens end; the end-of-sequence token
    is added. Messages go through the chat template. Of a sequence longer than `max_length` the prompt loses its start
    (a beginning token and what is nearest to the answer stay) and the completion its end; neither loses anything while
    the other takes more than half (`retain.data.lengths.split_room`).

    Raises:
        InputError: messages without a chat template, or messages that the template refuses or does not show.
    """
    if example.is_chat:
        prompt, completion = _chat_ids(tokenizer, example)
        return _joined(tokenizer, prompt, completion, max_length, len(completion))
    start, end = _end_of(example.prompt_text, max_length), _start_of(example.completion_text, max_length)
    ((prompt, completion),) = _split(tokenizer, start, [end])
    if tokenizer.eos_token_id is not None:
        completion = [*completion, tokenizer.eos_token_id]
    row = _joined(tokenizer, prompt, completion, max_length, len(completion))
    shorter = start != example.prompt_text, end != example.completion_text
    return replace(row, prompt_cut=row.prompt_cut or shorter[0], completion_cut=row.completion_cut or shorter[1])


def encode_prompt(tokenizer: Any, example: Example, max_length: int) -> Encoded:
    """The prompt alone, ready to generate from; cut at its start to `max_length`."""
    if example.is_chat:
        row = _only_prompt(tokenizer, _ids(tokenizer, prompt_text(tokenizer, example)), max_length)
        turns: Any = example.prompt
        return replace(row, messages=list(map(dict, turns)), arguments=example.template_inputs or {})
    text = _end_of(example.prompt_text, max_length)
    row = _only_prompt(tokenizer, _prompt_ids(tokenizer, text), max_length)
    return replace(row, prompt_cut=row.prompt_cut or text != example.prompt_text)


def encode_question(tokenizer: Any, question: str, max_length: int) -> Encoded:
    """One user's message in the chat template, ready to be answered; cut at its start to `max_length`.

    Raises:
        InputError: there is no chat template, or it refuses.
    """
    row = _only_prompt(tokenizer, _ids(tokenizer, question_text(tokenizer, question)), max_length)
    return replace(row, messages=[{"role": "user", "content": question}])


def encode_choice(tokenizer: Any, item: Choice | Question, *, chat: bool, max_length: int) -> list[Encoded]:
    """One sequence for each choice; scored is the choice's text. All see the same part of a question that is too long.

    Plain: question, a space, choice. Chat: the question as the user's message in the chat template, the choice as the
    assistant's reply (without the turn's end, which no plain form has).

    Raises:
        InputError: as `encode_example`.
    """
    if chat:
        question = _ids(tokenizer, question_text(tokenizer, item.question))
        parts = [(question, tokenizer.encode(choice, add_special_tokens=False)) for choice in item.choices]
    else:
        parts = _split(tokenizer, item.question.rstrip(), [f" {choice}" for choice in item.choices])
    longest = max(len(completion) for _, completion in parts)
    return [_joined(tokenizer, prompt, completion, max_length, longest) for prompt, completion in parts]


def text_windows(tokenizer: Any, text: str, max_length: int) -> list[list[int]]:
    """Tokens of a text in consecutive windows of at most `max_length`, each with the beginning token."""
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    first = _beginning(tokenizer)
    room = max_length - len(first)
    return [first + ids[start : start + room] for start in range(0, len(ids), room)]


def cut_to(sequences: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """The first sequences, up to `tokens` tokens in all; the last one is cut."""
    kept: list[list[int]] = []
    room = tokens
    for ids in sequences:
        if room <= 0:
            break
        kept.append(list(ids[:room]))
        room -= len(ids)
    return kept


def start_ids(tokenizer: Any) -> list[int]:
    """The tokens that generation starts from when there is no text yet: the beginning token, or a border token."""
    return _prompt_ids(tokenizer, "")


def held_out_windows(
    tokenizer: Any, text: str, window: int, max_tokens: int, longest: int | None = None
) -> list[list[int]]:
    """Consecutive windows of `window` tokens of the text, without overlap, `max_tokens` tokens at most.

    Each begins with the beginning token where the tokenizer has one of its own. A last window that predicts nothing is
    dropped.

    Args:
        tokenizer: the model's.
        text: the text.
        window: tokens of the text in a window.
        max_tokens: tokens of the text in all windows.
        longest: tokens of a window with its beginning token, at most. [no limit]
    """
    first = _beginning(tokenizer)
    window = window if longest is None else min(window, longest - len(first))
    ids = tokenizer.encode(_start_of(text, max_tokens), add_special_tokens=False, verbose=False)[:max_tokens]
    windows = [ids[start : start + window] for start in range(0, len(ids), window)]
    return [first + part for part in windows if len(part) > 1]


def pad(sequences: Sequence[Sequence[int]], value: int, *, left: bool = False) -> list[list[int]]:
    """Sequences filled up to the longest with `value`, at their right or left end."""
    longest = max(map(len, sequences))
    filling = [[value] * (longest - len(sequence)) for sequence in sequences]
    return [
        fill + list(sequence) if left else list(sequence) + fill
        for sequence, fill in zip(sequences, filling, strict=True)
    ]


def _joined(tokenizer: Any, prompt: list[int], completion: list[int], max_length: int, longest: int) -> Encoded:
    """A prompt and a completion as one sequence; `longest` counts for the completion where its prompt is cut."""
    kept = _cut(tokenizer, prompt, split_room(len(prompt), longest, max_length))
    ids = (kept + completion)[:max_length]
    return Encoded(tuple(ids), len(kept), len(kept) < len(prompt), len(ids) < len(kept) + len(completion))


def _only_prompt(tokenizer: Any, prompt: list[int], room: int) -> Encoded:
    kept = _cut(tokenizer, prompt, room)
    return Encoded(tuple(kept), len(kept), len(kept) < len(prompt))


def _start_of(text: str, tokens: int) -> str:
    return text[: CHARACTERS_A_TOKEN * tokens]


def _end_of(text: str, tokens: int) -> str:
    return text[-CHARACTERS_A_TOKEN * tokens :]


def _cut(tokenizer: Any, prompt: list[int], room: int) -> list[int]:
    """The end of a prompt that is too long, behind its beginning token."""
    if len(prompt) <= room:
        return prompt
    first = _beginning(tokenizer)
    if first and prompt[:1] == first and room > 1:
        return first + prompt[len(prompt) - room + 1 :]
    return prompt[len(prompt) - room :]


def _split(tokenizer: Any, prompt: str, completions: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """Tokens of prompt + completion for each completion, parted where they stop being the prompt's own."""
    first = _beginning(tokenizer)
    head = _ids_behind(first, tokenizer, prompt)
    if not prompt:
        return [(head, tokenizer.encode(completion, add_special_tokens=False)) for completion in completions]
    return [_parted(head, _ids_behind(first, tokenizer, prompt + completion)) for completion in completions]


def _parted(head: list[int], full: list[int]) -> tuple[list[int], list[int]]:
    """The tokens of prompt and completion, parted where they stop being the prompt's own."""
    same = next((i for i, (one, other) in enumerate(zip(head, full, strict=False)) if one != other), len(head))
    same = min(max(same, 1), len(full) - 1)  # something stands before what is scored, and something is scored
    return full[:same], full[same:]


def _prompt_ids(tokenizer: Any, text: str) -> list[int]:
    return _ids_behind(_beginning(tokenizer), tokenizer, text)


def _ids_behind(first: list[int], tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text behind its beginning token, which is known."""
    ids: list[int] = first + tokenizer.encode(text, add_special_tokens=False)
    if ids:
        return ids
    # A sequence must begin somewhere: an empty prompt begins with a token that the model knows as a border.
    borders = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return [next((token for token in borders if token is not None), 0)]


def _beginning(tokenizer: Any) -> list[int]:
    """The token that this tokenizer puts before every text, if it does."""
    probe = tokenizer.encode("a", add_special_tokens=True)
    return probe[:1] if tokenizer.bos_token_id is not None and probe[:1] == [tokenizer.bos_token_id] else []


def _chat_ids(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    text = chat_text(tokenizer, example)
    return _parted(_ids(tokenizer, text.full[: text.start]), _ids(tokenizer, text.full))


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a rendered conversation, whose template writes the special tokens itself."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False, verbose=False)
    return ids
