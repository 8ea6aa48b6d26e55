"""The differences of two tokenizers that matter when the same text is put to two models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_SPECIAL = ("bos_token", "eos_token", "unk_token")
"""Special tokens that change a model's input or its end; what fills batches up is masked and changes nothing."""

_PROBES = (
    "A b\n c, 12.",
    "The river's name: Éire, naïve, 河, 12,345.60!",
    "\tdef f(x):\n\t\treturn {x: [x, 'x']}  # ok",
    "  two  spaces\n\nand UPPER lower MiXed",
)


@dataclass(frozen=True)
class TokenizerDifference:
    """What another tokenizer does otherwise.

    Attributes:
        added: tokens that only the other has.
        lost: tokens that only the first has.
        conflicts: examples of ids that mean another token in each.
        template: the chat templates differ.
        has_template: whether the first and the other have one.
        special: names of special tokens that differ, each with both values.
        splits: the same text is split otherwise, in tokens that both have.
    """

    added: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    template: bool = False
    has_template: tuple[bool, bool] = (False, False)
    special: tuple[str, ...] = ()
    splits: bool = False

    @property
    def is_none(self) -> bool:
        """True if the two do the same."""
        return not self.sentences

    @property
    def sentences(self) -> list[str]:
        """Each difference in words, the other tokenizer as the subject."""
        found = []
        if self.conflicts:
            found.append(f"gives ids to other tokens ({self.conflicts[0]})")
        if self.added:
            found.append(f"has {_counted(self.added)} more ({_some(self.added)})")
        if self.lost:
            found.append(f"lacks {_counted(self.lost)} ({_some(self.lost)})")
        if self.template:
            first, other = self.has_template
            words = "another chat template" if first and other else "a chat template" if other else "no chat template"
            found.append(f"has {words}")
        found += [f"has another {one}" for one in self.special]
        if self.splits:
            found.append("splits text otherwise")
        return found


def compare_tokenizers(first: Any, other: Any) -> TokenizerDifference:
    """Compare a tokenizer with another one of the same model or of a model tuned from it."""
    one, two = first.get_vocab(), other.get_vocab()
    by_id = {index: token for token, index in one.items()}
    conflicts = [
        f"{index} is {by_id[index]!r} for the base and {token!r} for the tuned model"
        for token, index in sorted(two.items(), key=lambda pair: pair[1])
        if by_id.get(index, token) != token
    ]
    templates = [getattr(each, "chat_template", None) or None for each in (first, other)]
    ends = [(name, getattr(first, name, None), getattr(other, name, None)) for name in _SPECIAL]
    return TokenizerDifference(
        added=tuple(sorted(two.keys() - one.keys(), key=two.__getitem__)),
        lost=tuple(sorted(one.keys() - two.keys(), key=one.__getitem__)),
        conflicts=tuple(conflicts[:3]),
        template=templates[0] != templates[1],
        has_template=(templates[0] is not None, templates[1] is not None),
        special=tuple(f"{name} ({b!r} instead of {a!r})" for name, a, b in ends if a != b),
        splits=not conflicts and any(_ids(first, text) != _ids(other, text) for text in _PROBES),
    )


def highest_id(tokenizer: Any) -> int:
    """The highest id that a tokenizer can give; −1 where it has no tokens."""
    return max(tokenizer.get_vocab().values(), default=-1)


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return found


def _counted(tokens: tuple[str, ...]) -> str:
    return "1 token" if len(tokens) == 1 else f"{len(tokens):,} tokens"


def _some(tokens: Iterable[str]) -> str:
    every = list(tokens)
    return ", ".join(every[:4]) + (", …" if len(every) > 4 else "")
