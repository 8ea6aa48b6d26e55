"""Conversations through a tokenizer's chat template: the prompt, the whole, and where the answer begins in it.

A prompt need not be the beginning of the conversation: templates open a reasoning block in the prompt, put an empty one
before an answer, drop the reasoning of earlier turns. So the two are compared as texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import TemplateError

from retain.data.chat_turns import Turns, as_parts, check_inputs, check_tools, plain_turn, written_calls
from retain.data.conversation import REASONING_KEYS, Message
from retain.data.reasoning import (
    closed_at_once,
    closes_reasoning,
    empty_block,
    marks_of,
    opening_at_start,
    opens_reasoning,
    part_reasoning,
    without_block_at_end,
)
from retain.data.template_source import TemplateTraits, template_traits
from retain.errors import InputError

if TYPE_CHECKING:  # examples tokenise themselves by this module
    from retain.data.examples import Example

_PLACEHOLDER = "zq7kv"


@dataclass(frozen=True)
class ChatText:
    """A conversation as text.

    Attributes:
        prompt: ready to generate from.
        full: prompt and answer.
        start: where the part that is learned begins in `full`.
    """

    prompt: str
    full: str
    start: int


def chat_text(tokenizer: Any, example: Example) -> ChatText:
    """Prompt and answer of an example as the chat template writes them.

    What the template itself puts before the answer, an empty or open reasoning block included, counts as prompt. The
    reasoning that a row brings for its answer is learned as it is written, also where the template would drop it.

    Raises:
        InputError: there is no chat template, it refuses, or it leaves out what the row gives it.
    """
    chat = _Chat.of(tokenizer, example)
    for attempt in range(2):  # the clock may have moved on between two renderings
        prompt, full = chat.prompt(), chat.full()
        start = _start(prompt, full, chat)
        if start is not None or not chat.traits.writes_date or attempt:
            break
    if start is None:
        raise InputError(
            "the chat template renders the conversation differently when the answer is added, so where the answer "
            "begins is not known; give prompt and completion as text, or another template as --template FILE."
        )
    full, start = _own_reasoning(prompt, full, start, chat)
    _check_shown(full[start:], chat)
    return ChatText(prompt, full, start)


def prompt_text(tokenizer: Any, example: Example) -> str:
    """The prompt of an example as the chat template writes it, ready to generate from.

    Raises:
        InputError: as `chat_text`.
    """
    return _Chat.of(tokenizer, example).prompt()


def question_text(tokenizer: Any, question: str) -> str:
    """One user's message as the chat template writes it, ready to be answered.

    Raises:
        InputError: there is no chat template, or it refuses.
    """
    traits = template_traits(_source(tokenizer, None))
    return _rendered(tokenizer, {}, as_parts([{"role": "user", "content": question}], traits), generation=True)


Mismatch = Literal["opened", "closed", "blank"]
"""How the prompt that an answer is learned behind differs from the one at inference, as for its reasoning:

opened  at inference it opens a block, and the answer is learned without one
closed  at inference it closes reasoning at once, and the answer is learned with reasoning
blank   the answer is learned behind an empty block, which is not there at inference
"""


def mismatch(tokenizer: Any, example: Example) -> Mismatch | None:
    """How the prompt that an example is learned behind differs from the one at inference; None where it does not.

    Raises:
        InputError: as `chat_text`.
    """
    text = chat_text(tokenizer, example)
    before = text.full[: text.start]
    if before == text.prompt:
        return None
    if opens_reasoning(text.prompt):
        return "opened"
    if closes_reasoning(text.prompt):
        return "closed"
    return "blank" if closes_reasoning(before) else None


def turn_end(tokenizer: Any) -> int | None:
    """The special token that the chat template puts behind an answer; None where there is no template, or no such."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    try:
        traits = template_traits(_source(tokenizer, None))
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _PLACEHOLDER}]
        text = _rendered(tokenizer, {}, as_parts(turns, traits))
    except InputError:
        return None
    _, found, after = text.rpartition(_PLACEHOLDER)
    ids = tokenizer.encode(after.strip(), add_special_tokens=False) if found else []
    special = {token for token, one in tokenizer.added_tokens_decoder.items() if one.special}
    return int(ids[0]) if ids and ids[0] in special else None


@dataclass(frozen=True)
class _Chat:
    """An example as its template takes it."""

    tokenizer: Any
    source: str
    traits: TemplateTraits
    inputs: dict[str, Any]
    prompt_turns: Turns
    completion_turns: Turns
    completion: tuple[Message, ...]

    @classmethod
    def of(cls, tokenizer: Any, example: Example) -> _Chat:
        inputs = dict(example.template_inputs or {})
        source = _source(tokenizer, inputs.get("tools"))
        traits = template_traits(source)
        prompt: Any = example.prompt
        completion: Any = example.completion
        check_inputs(inputs, example.other_keys, traits)
        render = partial(_rendered, tokenizer, inputs)
        turns = written_calls(render, [plain_turn(turn, traits) for turn in (*prompt, *completion)], traits)
        check_tools(render, turns, inputs)
        return cls(tokenizer, source, traits, inputs, turns[: len(prompt)], turns[len(prompt) :], completion)

    def prompt(self) -> str:
        return _rendered(self.tokenizer, self.inputs, self.prompt_turns, generation=True)

    def full(self) -> str:
        return _rendered(self.tokenizer, self.inputs, [*self.prompt_turns, *self.completion_turns])

    def before_answer(self) -> str | None:
        """What stands before the first turn of the completion, by a word in place of its content and its reasoning."""
        first, *others = self.completion_turns
        content: Any = [{"type": "text", "text": _PLACEHOLDER}] if self.traits.wants_parts else _PLACEHOLDER
        reasoning = {key: _PLACEHOLDER for key in REASONING_KEYS if isinstance(first.get(key), str)}
        marked = {**first, "content": content, **reasoning}
        text = _rendered(self.tokenizer, self.inputs, [*self.prompt_turns, marked, *others])
        before, found, _ = text.partition(_PLACEHOLDER)
        return before if found else None


def _start(prompt: str, full: str, chat: _Chat) -> int | None:
    """The place in the whole where the answer begins; None where it is not found."""
    bare = without_block_at_end(prompt)
    brings_reasoning = _reasoning_of(chat.completion[0]) is not None
    if full.startswith(prompt) and not (brings_reasoning and closes_reasoning(prompt)):
        start = len(prompt)
    elif full.startswith(bare):
        start = len(bare)
    else:
        before = chat.before_answer() or ""
        if brings_reasoning or not full.startswith(before):
            before = without_block_at_end(before)
        return len(before) if before and full.startswith(before) else None
    if brings_reasoning:
        return start
    if start == len(prompt) and opens_reasoning(prompt):
        return start + closed_at_once(full[start:])
    return start + empty_block(full[start:])


def _reasoning_of(turn: Message) -> str | None:
    """The reasoning that a turn brings, in its content or beside it."""
    return turn.reasoning if turn.reasoning is not None else part_reasoning(turn.content or "").reasoning


def _own_reasoning(prompt: str, full: str, start: int, chat: _Chat) -> tuple[str, int]:
    """The whole with the reasoning that the row brings, once; and where the learned part begins."""
    turn = chat.completion[0]
    reasoning = _reasoning_of(turn)
    if reasoning is None:
        return full, start
    if closes_reasoning(prompt):
        prompt = without_block_at_end(prompt)
    rest = full[start:]
    if reasoning.strip() in rest:
        doubled = empty_block(rest)
        if doubled and opening_at_start(rest[doubled:]):
            return full[:start] + rest[doubled:], start
        if start == len(prompt) and opens_reasoning(prompt):
            return full[:start] + rest[opening_at_start(rest) :], start
        return full, start
    answer = turn.answer if not turn.tool_calls else part_reasoning(turn.content or "").answer.strip()
    place = rest.rfind(answer)
    if len(chat.completion) > 1 or place < 0:
        raise InputError(
            "the chat template leaves out the reasoning of the answer, so it cannot be learned: give another template "
            "as --template FILE, or take the reasoning out of the rows."
        )
    written = _written_reasoning(turn, reasoning, answer, chat.source)
    if opens_reasoning(prompt):
        written = written[opening_at_start(written) :]
    return prompt + written + rest[place + len(answer) :], len(prompt)


def _written_reasoning(turn: Message, reasoning: str, answer: str, source: str) -> str:
    """Reasoning and answer as the row writes them; reasoning that stands apart, between the template's own marks."""
    if turn.reasoning is None:
        return (turn.content or "").strip()
    marks = marks_of(source)
    if marks is None:
        raise InputError(
            "the chat template knows no reasoning, and the row's stands beside its content: put it into the content, "
            "as <think>…</think>, or leave it out."
        )
    return f"{marks[0]}\n{reasoning.strip()}\n{marks[1]}\n\n{answer}"


def _check_shown(learned: str, chat: _Chat) -> None:
    """Refuse a template that does not show the answer.

    Raises:
        InputError: it does not.
    """
    for turn in chat.completion:
        answer = part_reasoning(turn.content or "").answer
        if _letters(answer) and _letters(answer) not in _letters(learned):
            raise InputError(
                "the chat template does not show the assistant's answer as the row has it, so it cannot be learned; "
                "give prompt and completion as text, or another template as --template FILE."
            )


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def _source(tokenizer: Any, tools: Any) -> str:
    """The source of the template that applies.

    Raises:
        InputError: there is none, or it is no template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            "messages need a chat template and this model's tokenizer has none: give one as --template FILE, give "
            "prompt and completion as text, or use the model's instruction-tuned variant."
        )
    try:
        source = str(tokenizer.get_chat_template(tools=tools))
        template_traits(source)
    except (TemplateError, ValueError) as error:
        raise InputError(f"the model's chat template cannot be used: {error}") from error
    return source


def _rendered(tokenizer: Any, inputs: dict[str, Any], turns: Turns, *, generation: bool = False) -> str:
    try:
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=generation, tokenize=False, **inputs)
    except Exception as error:
        refused = template_traits(_source(tokenizer, inputs.get("tools"))).refuses & {turn["role"] for turn in turns}
        cures = [
            f'; it takes no message of the role "{role}": put its text into a user\'s message'
            for role in sorted(refused)
        ]
        raise InputError(f"the model's chat template refuses these messages: {error}{''.join(cures)}") from error
    return str(text)
