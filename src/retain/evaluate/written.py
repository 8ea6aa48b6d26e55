"""Written answers: generated tokens read as an answer without its reasoning, and whether the limit cut it off."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from retain.data.reasoning import has_marks, opens_reasoning, part_reasoning, reasoning_end
from retain.data.texts import is_blank

Extent = Literal["whole", "first line", "opening"]
"""The part of an answer that is scored:

whole       up to the token that ends it
first line  of plain text to go on with: the first line that holds anything, as far as the limit reaches
opening     its beginning, however it goes on
"""

PROMPT_END = 24
"""Tokens at the end of a prompt among which an opening mark of reasoning stands."""


@dataclass(frozen=True)
class Written:
    """One written answer.

    Attributes:
        text: the answer, without reasoning and special tokens.
        cut_off: true where the limit ended it before what is scored was written.
    """

    text: str
    cut_off: bool = False


def read_answer(
    tokenizer: Any, ids: Sequence[int], ends: Collection[int], *, opened: bool = False, extent: Extent = "whole"
) -> Written:
    """Read generated tokens as an answer.

    Reasoning before the answer is left out. Reasoning that the limit ended leaves no answer; reasoning that the prompt
    opened, and that a model ended together with its turn, is its answer.

    Args:
        tokenizer: of the model.
        ids: generated tokens, with whatever pads them.
        ends: tokens that end an answer.
        opened: whether the prompt opened a reasoning block.
        extent: the part of the answer that is scored.
    """
    stop = next((place for place, token in enumerate(ids) if token in ends), None)
    text = _answer(tokenizer, list(ids[: None if stop is None else stop + 1]), opened=opened, ended=stop is not None)
    answer = text.strip()
    if extent == "first line":
        answer = answer.split("\n", 1)[0].strip()
    return Written(answer, cut_off=stop is None and (extent == "whole" or is_blank(answer)))


def read_answer_text(text: str, *, ended: bool, opened: bool = False, extent: Extent = "whole") -> Written:
    """Read a written text as an answer, where its tokens are not known; as `read_answer`.

    Args:
        text: as it was written, without special tokens but with the marks of reasoning.
        ended: whether the model ended it, and not the limit.
        opened: whether the prompt opened a reasoning block.
        extent: the part of the answer that is scored.
    """
    parted = part_reasoning(text, opened=opened)
    turn_without_answer = opened and ended and part_reasoning(text).reasoning is None
    answer = (text if parted.is_open and turn_without_answer else parted.answer).strip()
    if extent == "first line":
        answer = answer.split("\n", 1)[0].strip()
    return Written(answer, cut_off=not ended and (extent == "whole" or is_blank(answer)))


def opens(tokenizer: Any, prompt: Sequence[int]) -> bool:
    """True where a prompt ends with the opening mark of a reasoning block."""
    return opens_reasoning(tokenizer.decode(list(prompt)[-PROMPT_END:], skip_special_tokens=False))


def _answer(tokenizer: Any, ids: list[int], *, opened: bool, ended: bool) -> str:
    """The text behind the reasoning. Marks may be special tokens, so they are looked for before these are left out."""
    whole = _raw(tokenizer, ids)
    plain = str(tokenizer.decode(ids, skip_special_tokens=True))
    if not opened and not has_marks(whole):
        return plain
    end = reasoning_end(whole, opened=opened)
    if end is not None:
        return str(tokenizer.decode(ids[_tokens_until(tokenizer, ids, end, opened=opened) :], skip_special_tokens=True))
    parted = part_reasoning(whole, opened=opened)
    if not parted.is_open or (opened and ended and part_reasoning(whole).reasoning is None):
        return plain
    return ""


def _tokens_until(tokenizer: Any, ids: list[int], end: int, *, opened: bool) -> int:
    """The number of tokens up to the end of the reasoning, by bisection."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        found = reasoning_end(_raw(tokenizer, [*ids[:middle]]) + " .", opened=opened)
        low, high = (low, middle) if found == end else (middle + 1, high)
    return low


def _raw(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False))
