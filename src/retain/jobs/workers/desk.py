"""What the workers of a cluster meet at, an actor of Ray: progress, and files that are made by one for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

MOST_EVENTS = 10_000
"""States of tasks that are kept until the command reads them."""

EventValues = tuple[int, str, int, int | None]
"""The values of a `retain.events.Event`."""


class Desk:
    """Keeps what workers tell until the command reads it, and lets one of them at a time make a file for all.

    Files are kept only where machines do not see the command's folder.
    """

    def __init__(self) -> None:
        self._events: list[tuple[int, EventValues]] = []
        self._files: dict[str, Mapping[str, bytes]] = {}
        self._makers: dict[str, int] = {}
        self._interrupted: dict[str, Mapping[str, bytes]] = {}

    def tell(self, number: int, event: EventValues) -> None:
        """Keep how far a unit is."""
        if len(self._events) < MOST_EVENTS:
            self._events.append((number, event))

    def told(self) -> list[tuple[int, EventValues]]:
        """What was told since the last time."""
        events, self._events = self._events, []
        return events

    def claim(self, name: str, number: int) -> Literal["there", "make", "wait"]:
        """Say what a unit that needs a file is to do: take it, make it, or wait for the one that makes it."""
        if name in self._files:
            return "there"
        return "make" if self._makers.setdefault(name, number) == number else "wait"

    def give(self, name: str, number: int, files: Mapping[str, bytes]) -> None:
        """Keep what a unit made."""
        self._files[name] = files
        if self._makers.get(name) == number:
            del self._makers[name]

    def take(self, name: str) -> Mapping[str, bytes]:
        """Give what was made."""
        return self._files[name]

    def names(self) -> list[str]:
        """The names of what was made."""
        return list(self._files)

    def leave(self, number: int) -> None:
        """Let others make what a unit had begun: it failed, or its worker is gone."""
        self._makers = {name: maker for name, maker in self._makers.items() if maker != number}

    def keep(self, name: str, files: Mapping[str, bytes]) -> None:
        """Keep the files of a run that was interrupted."""
        self._interrupted[name] = files

    def interrupted(self) -> dict[str, Mapping[str, bytes]]:
        """The files of the runs that were interrupted."""
        return self._interrupted
