"""Answers of a server as they come, kept in the output folder: after an interruption nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.records.files import remove_if_empty, write_text
from retain.records.manifest import remove
from retain.records.reading import read_json_mapping

FOLDER = "served-answers"
"""The name in the output folder; the folder goes when the record is complete."""

ANSWERS = 64
SECONDS = 5.0
"""A part is written when it has so many answers, or is so old."""


class AnswerStore:
    """Answers by the hash of what was asked, in parts that are there whole or not at all.

    Args:
        folder: of the parts; None keeps them in memory only.
        about: what tells the server and the model apart. Parts of another are removed.

    Attributes:
        about: see above.
        found: how many answers an earlier process left.
    """

    def __init__(self, folder: Path | None, about: Mapping[str, Any]) -> None:
        self._folder, self.about = folder, dict(about)
        self._known: dict[str, Any] = {}
        self._new: dict[str, Any] = {}
        self._lock, self._written = threading.Lock(), time.monotonic()
        self._part = 0
        if folder is not None and folder.is_dir():
            self._read(folder)
        self.found = len(self._known)

    def _read(self, folder: Path) -> None:
        for path in sorted(folder.glob("part-*.json")):
            self._part = max(self._part, int(path.stem.removeprefix("part-") or 0))
            try:
                part = read_json_mapping(path)
            except InputError:
                part = {}
            if part.get("about") == self.about and isinstance(part.get("answers"), dict):
                self._known |= part["answers"]
            else:
                remove(path)

    def answer(self, asked: Mapping[str, Any], ask: Callable[[], Any]) -> Any:
        """The answer to a question: the one that is kept, else that of `ask`, which is kept then.

        Args:
            asked: all that the answer depends on, as plain values.
            ask: gets the answer, a plain value.
        """
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        with self._lock:
            if key in self._known:
                return self._known[key]
        found = ask()
        with self._lock:
            self._known[key] = self._new[key] = found
            if len(self._new) >= ANSWERS or time.monotonic() - self._written > SECONDS:
                self._write()
        return found

    def close(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            self._write()

    def forget(self) -> None:
        """Remove all parts, and keep nothing more: the record has what they were for."""
        with self._lock:
            self._new = {}
        if self._folder is not None and self._folder.is_dir():
            for path in sorted(self._folder.glob("part-*.json")):
                remove(path)
            remove_if_empty(self._folder)
            remove_if_empty(self._folder.parent)

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._folder is None or not self._new:
            return
        self._part += 1
        part = {"about": self.about, "answers": self._new}
        write_text(self._folder / f"part-{self._part:05d}.json", json.dumps(part) + "\n")
        self._new = {}
