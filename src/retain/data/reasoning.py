"""Reasoning before an answer: the marks that models put around it, and where it ends."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retain.data.texts import is_blank

MARKS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
"""The opening and the closing mark of a reasoning block, by the models that write them."""

_OPENS = [re.escape(opening) for opening, _ in MARKS] + [r"<\|channel\|>\s*analysis\s*<\|message\|>"]
_CLOSES = [re.escape(closing) for _, closing in MARKS]
_OPENING = re.compile("|".join(_OPENS))
_CLOSING = re.compile("|".join(_CLOSES))
_CHANNELS = [  # gpt-oss opens another channel for its answer, or else for a call of a tool
    re.compile(rf"<\|channel\|>\s*{name}\b(?:(?!<\|message\|>).)*<\|message\|>", re.DOTALL)
    for name in ("final", "commentary")
]
_MARK = re.compile(
    "|".join(
        f"(?P<open{kind}>{re.escape(one)})|(?P<close{kind}>{re.escape(other)})"
        for kind, (one, other) in enumerate(MARKS)
    )
)
_OPENED = re.compile(rf"(?:{'|'.join(_OPENS)})\s*\Z")
_BLOCK_AT_END = re.compile(rf"(?:(?:{'|'.join(_OPENS)})\s*)?(?:(?:{'|'.join(_CLOSES)})\s*)?\Z")
_EMPTY_BLOCK = re.compile(rf"\s*(?:{'|'.join(_OPENS)})\s*(?:{'|'.join(_CLOSES)})\n*")
_CLOSED_AT_ONCE = re.compile(rf"\s*(?:{'|'.join(_CLOSES)})\n*")
_OPENING_AT_START = re.compile(rf"\s*(?:{'|'.join(_OPENS)})\s*")


@dataclass(frozen=True)
class Parted:
    """A written text as its reasoning and its answer.

    Attributes:
        reasoning: what stands before the answer, without its marks; None where there is none.
        answer: what is meant for the reader.
        is_open: true where the reasoning has no end, so that there is no answer yet.
    """

    reasoning: str | None
    answer: str
    is_open: bool = False


def part_reasoning(text: str, *, opened: bool = False) -> Parted:
    """Part the reasoning from the answer.

    Args:
        text: as it was written, marks included.
        opened: whether the prompt before it has opened a reasoning block already.

    Examples:
        >>> part_reasoning("<think>2 and 2.</think>4").answer
        '4'
        >>> part_reasoning("2 and 2.</think>4", opened=True).reasoning
        '2 and 2.'
    """
    end = reasoning_end(text, opened=opened)
    if end is not None:
        return Parted(_without_marks(text[:end]), text[end:])
    if opened or (channel := _end_of_channel(text)) is not None or opening_at_start(text):
        start = channel if not opened and channel is not None else 0
        return Parted(text[start + opening_at_start(text[start:]) :].strip(), "", is_open=True)
    return Parted(None, text)


def reasoning_end(text: str, *, opened: bool = False) -> int | None:
    """The place behind the mark that closes the reasoning at the start of a text; None where no reasoning ends there.

    A closing mark without an opening one counts where an answer follows it: the opening one stood in the prompt.
    Blocks within a block belong to it, and a block behind a block, or within the channel of the answer, to the
    reasoning. Where that last one has no end, there is none.
    """
    end = _end_of_channel(text)
    if end is None:
        end = _end_of_block(text, opened=opened)
    if end is not None and opening_at_start(text[end:]):  # another block
        further = reasoning_end(text[end:])
        return None if further is None else end + further
    return end


def _end_of_block(text: str, *, opened: bool) -> int | None:
    """The place behind the mark that closes the block at the start of a text, past the blocks within it."""
    start = opening_at_start(text)
    if not (start or opened):
        found = _CLOSING.search(text)
        lacks = found is None or _OPENING.search(text[: found.start()]) or is_blank(text[found.end() :])
        return None if found is None or lacks else found.end()
    first = _MARK.match(text.lstrip()) if start else None
    if start and first is None:  # a channel, which no mark closes
        return None
    opener = "" if first is None or first.lastgroup is None else first.lastgroup.removeprefix("open")
    within, last = [opener], None  # the kinds of blocks that are open; of the one that the prompt opened none is known
    for mark in _MARK.finditer(text, start):
        what, kind = re.split(r"(?=\d)", mark.lastgroup or "", maxsplit=1)
        if what == "open":
            within.append(kind)
            continue
        last = mark.end()
        if kind in within:
            del within[len(within) - 1 - within[::-1].index(kind) :]
        elif not opener:
            within = []
        if not within:
            return last
    return last  # an opening mark was only named, or another kind of mark closes the block


def has_marks(text: str) -> bool:
    """True where a text holds an opening or a closing mark."""
    return any(pattern.search(text) for pattern in (_OPENING, _CLOSING, *_CHANNELS))


def _end_of_channel(text: str) -> int | None:
    for pattern in _CHANNELS:
        ends = [found.end() for found in pattern.finditer(text)]
        if ends:
            return ends[-1]
    return None


def _without_marks(text: str) -> str:
    return _CLOSING.sub("", text[opening_at_start(text) :]).strip()


def opens_reasoning(prompt: str) -> bool:
    """True where a prompt ends with an opening mark, so that what follows is reasoning."""
    return _OPENED.search(prompt) is not None


def without_block_at_end(prompt: str) -> str:
    """A prompt without the mark or the empty block that it ends with; DeepSeek closes a block that nothing opened."""
    return _BLOCK_AT_END.sub("", prompt, count=1)


def closes_reasoning(prompt: str) -> bool:
    """True where a prompt ends with a closing mark, so that no reasoning is to follow."""
    return not opens_reasoning(prompt) and without_block_at_end(prompt) != prompt


def empty_block(text: str) -> int:
    """The length of an empty reasoning block at the start of a text; 0 where there is none."""
    found = _EMPTY_BLOCK.match(text)
    return found.end() if found else 0


def closed_at_once(text: str) -> int:
    """The length of a closing mark at the start of a text; 0 where there is none."""
    found = _CLOSED_AT_ONCE.match(text)
    return found.end() if found else 0


def opening_at_start(text: str) -> int:
    """The length of an opening mark at the start of a text; 0 where there is none."""
    found = _OPENING_AT_START.match(text)
    return found.end() if found else 0


def marks_of(template: str) -> tuple[str, str] | None:
    """The marks that a template writes; None where it knows of none."""
    return next((pair for pair in MARKS if pair[0] in template and pair[1] in template), None) or next(
        (pair for pair in MARKS if pair[0] in template or pair[1] in template), None
    )
