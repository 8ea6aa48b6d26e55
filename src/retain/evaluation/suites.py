"""What is measured: held-out task items, keep suites and reference text, and the settings both sides share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from retain.data.examples import Choice, Example


@dataclass(frozen=True)
class Suites:
    """The items. All parts may be empty; what is empty is not measured."""

    task_name: str = "task"
    task: Sequence[Example] = ()
    keep: Mapping[str, Sequence[Choice]] = field(default_factory=dict)
    reference: str = ""


@dataclass(frozen=True)
class Settings:
    """How items are put to a model; the same for base and tuned.

    Attributes:
        keep_format: questions as plain text to go on with, or through the chat template.
        keep_score: log-likelihood that picks a choice: total, or mean per token or per character.
        generate: task items for which an answer is written.
        max_new_tokens: longest answer written, in tokens.
        max_length: longest sequence, in tokens.
        reference_tokens: tokens of reference text used at most.
        window: tokens of reference text seen at once.
        batch_size: sequences scored at once.
        seed: of the bootstrap.
    """

    keep_format: Literal["plain", "chat"] = "plain"
    keep_score: Literal["total", "token", "character"] = "total"
    generate: int = 64
    max_new_tokens: int = 48
    max_length: int = 512
    reference_tokens: int = 8192
    window: int = 256
    batch_size: int = 32
    seed: int = 0
