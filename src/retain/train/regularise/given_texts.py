"""Texts and a tokenizer as people hand them over: checked before one letter is taken for a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.hf.models.given import tokenizer_of


def given_tokenizer(tokenizer: Any) -> Any:
    """The tokenizer, of a processor that holds one too.

    Raises:
        InputError: it is none.
    """
    if isinstance(tokenizer, str | Path):
        raise InputError(
            f"tokenizer: {str(tokenizer)!r} was given, and a loaded one is expected, as AutoTokenizer.from_pretrained "
            "makes one."
        )
    within = tokenizer_of(tokenizer)
    if not hasattr(within, "encode"):
        raise InputError(f"tokenizer: {type(tokenizer).__name__} was given; give the tokenizer first, then the texts.")
    return within


def given_texts(texts: Any, name: str = "texts") -> list[str]:
    """The texts, of rows with a column `text` too.

    Args:
        texts: one by one.
        name: of the argument, for messages.

    Raises:
        InputError: it is one text, a path or a mapping, or one of them is no text.
    """
    if isinstance(texts, str | Path):
        raise InputError(
            f"{name}: one text was given, and a list of texts is expected; give [text], or of a file its lines or "
            "paragraphs."
        )
    if isinstance(texts, Mapping) or not isinstance(texts, Iterable):  # a mapping would give its keys
        raise InputError(f"{name}: {type(texts).__name__} was given, and a list of texts is expected.")
    rows: Any = texts
    if hasattr(rows, "iterrows"):  # a table of pandas gives the names of its columns
        rows = rows.get("text", [])
    found: list[Any] = [text.get("text") if isinstance(text, Mapping) else text for text in rows]
    wrong = next((number for number, text in enumerate(found) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError(
            f"{name}: number {wrong + 1} is no text ({type(found[wrong]).__name__}); give strings, or rows with a "
            "column text."
        )
    return found
