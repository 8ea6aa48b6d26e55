"""A stopwatch for the stages of a job."""

from __future__ import annotations

import time
from typing import Self


class Stopwatch:
    """Adds up the wall time of `with` blocks.

    Attributes:
        seconds: the time so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> Self:
        """Start."""
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.seconds += time.perf_counter() - self._began
