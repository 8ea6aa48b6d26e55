"""Values that go between the command and its workers: what is to be done, what became of it. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["run", "candidate", "nothing"]
"""What a worker does:

run        a run of a comparison
candidate  a candidate of a sweep
nothing    nothing, to see what the spreading itself costs
"""

State = Literal["done", "failed", "in use", "lost", "not begun"]
"""What became of a unit:

done       it is done
failed     it ended with an error, for which there is a sentence
in use     another command is doing it
lost       its worker ended, so it can be done again by another
not begun  there was no time left for it
"""


class Setup(BaseModel):
    """All that a worker is told once.

    Attributes:
        kind: what it does.
        recipe: the recipe of the comparison or sweep, as JSON.
        command: the words of the command, for the record.
        folder: where the command was given, from which relative paths count.
        threads: of each unit; None: as the machine has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    recipe: str
    command: tuple[str, ...] = ()
    folder: str = ""
    threads: int | None = None

    @property
    def key(self) -> str:
        """A hash by which a process knows what it prepared already."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Unit(BaseModel):
    """One run, or one candidate.

    Attributes:
        number: its place among all.
        name: for people.
        work: what it is, as its kind reads it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    name: str
    work: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        number: the unit's.
        state: see `State`.
        text: what it gave; or the sentence that says why not.
        files: what it wrote, by name, where the command's folder is not seen by its worker.
    """

    number: int
    state: State
    text: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
