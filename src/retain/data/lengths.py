"""The longest sequence: what was requested, what the model has positions for, and what is cut to fit, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `retain suites` reads this module and no torch
    from retain.data.tokens import Encoded
    from retain.hf.models.positions import Positions


@dataclass(frozen=True)
class Cuts:
    """The items of some data that are too long.

    Attributes:
        items: how many lose anything.
        prompts: how many lose the start of their prompt.
        completions: how many lose the end of their completion.
        longest: tokens of the longest sequence after the cut.
        limit: tokens that a sequence may have.
        room: tokens that a prompt may have so that an answer can be written after it; 0 where none is written.
    """

    items: int = 0
    prompts: int = 0
    completions: int = 0
    longest: int = 0
    limit: int = 0
    room: int = 0

    @classmethod
    def among(cls, items: Iterable[Sequence[Encoded]], limit: int, room: int = 0) -> Cuts:
        """The cuts of items that are one or more sequences each."""
        sequences = list(items)
        return cls(
            sum(any(row.truncated for row in rows) for rows in sequences),
            sum(any(row.prompt_cut for row in rows) for rows in sequences),
            sum(any(row.completion_cut for row in rows) for rows in sequences),
            max((len(row.ids) for rows in sequences for row in rows), default=0),
            limit,
            room,
        )

    def sentences(self, total: int, *, before: str = "", of: str = "") -> list[str]:
        """Say how many of the items of some data are cut, and what they lose; nothing where none is.

        Args:
            total: number of its items.
            before: the name of the data, where they are still to be read.
            of: words for the items, where they were read.
        """
        if not self.items:
            return []
        subject = f"{self.items} of {total} {of} were" if of else f"{before}: {self.items} of {total} are"
        limit = f"{self.limit} tokens"
        if 0 < self.room < self.limit:
            limit += f" (a prompt than {self.room}, so that its answer has positions left)"
        cut = "were cut" if of else "will be cut"
        parts = [f"{self.prompts} lose the start of their prompt"] if self.prompts else []
        if self.completions:
            parts.append(f"{self.completions} lose the end of their completion, so no end token is learned from these")
        lost = f" Of these, {' and '.join(parts)}." if parts else ""
        return [f"{subject} longer than {limit} and {cut}.{lost}"]


NO_CUTS = Cuts()


def split_room(prompt: int, completion: int, room: int) -> int:
    """Tokens that a prompt keeps beside a completion, where both together are longer than `room`.

    Neither loses anything while the other takes more than half of the room; where both take more, each keeps half.

    Args:
        prompt: tokens of the prompt.
        completion: tokens of the completion.
        room: tokens of the longest sequence.
    """
    return min(prompt, max(room - completion, room // 2, 1))


def too_long(requested: int, positions: Positions) -> list[str]:
    """A refusal of a length that was requested by name and that the model cannot read; none otherwise."""
    if positions.limit is None or requested <= positions.limit:
        return []
    return [f"max_length: this model has only {positions.limit} positions; say --max-length {max(positions.limit, 1)}."]


def lowered(requested: int, positions: Positions) -> list[str]:
    """A note where the model's positions, and not the requested length, limit its sequences."""
    if positions.limit is None or requested <= positions.limit:
        return []
    return [
        (
            f"max_length: this model has only {positions.limit} positions, so no sequence has more tokens than that, "
            f"not {requested}; to state it, say --max-length {positions.limit}."
        )
    ]


def beyond_training(longest: int, positions: Positions) -> list[str]:
    """A note where a sequence is longer than those that a model without a limit was trained on."""
    if positions.trained is None or longest <= positions.trained:
        return []
    return [
        (
            f"max_length: the longest example has {longest} tokens, and this model was trained on at most "
            f"{positions.trained}; it reads longer ones, but worse. To cut them, say --max-length {positions.trained}."
        )
    ]
