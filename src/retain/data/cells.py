"""Lists and objects that stand as text in one cell of a table: JSON is read, what Python printed is refused."""

from __future__ import annotations

import re
from typing import Any

from retain.records.reading import decode_json

_TURNS = re.compile(r"""\[\s*\{\s*["'](role|content|from|value)["']\s*:""")
_SPOKEN = re.compile(r"""["'](role|from)["']\s*:\s*["'](system|developer|user|human|assistant|gpt)["']""")
_TEXTS = re.compile(r"""\[\s*(["']).*["']\s*\]""", re.DOTALL)

CURE = 'save the table as JSONL (of pandas: to_json(..., orient="records", lines=True)), or the values by json.dumps'


def holds_turns(value: Any) -> bool:
    """True for text that is a list of turns, and not for other JSON, nor for turns that a text goes on behind."""
    if not isinstance(value, str) or _TURNS.match(text := value.strip()) is None:
        return False
    return text.endswith("]") and _SPOKEN.search(text) is not None


def holds_texts(value: Any) -> bool:
    """True for text that is a list of texts."""
    return isinstance(value, str) and _TEXTS.fullmatch(value.strip()) is not None


def unpacked(value: str, name: str) -> Any:
    """The list or object that a cell holds.

    Args:
        value: text that begins as one.
        name: of its column, for the message.

    Raises:
        ValueError: as a clause, it is no JSON.
    """
    text = value.strip()
    try:
        found, end = decode_json(text)
    except ValueError as error:
        raise ValueError(f'"{name}" is text that is no JSON ({error}), as Python prints lists; {CURE}') from error
    if end != len(text):
        raise ValueError(f'"{name}" is text in which something stands behind the JSON; {CURE}')
    return found
