"""A folder of the user's in which a base's predictions are kept, for later runs in whichever output folder.

What a file holds is known by its name: a hash of all that the predictions depend on. Items' texts are not in it; what
is taken from an item, as the text of the option that the base chose, is filled in again from the item.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.evaluate.predictions import Predictions, collect_predictions
from retain.evaluate.tasks.table import task_type_of
from retain.events import Events
from retain.jobs.asked import Asked, today
from retain.jobs.cache_folder import cache_folder
from retain.jobs.in_turn import in_turn
from retain.records.files import write_text
from retain.records.reading import read_model

MOST_BYTES = 2**30
"""Bytes of all files together; of more, those that were not used for the longest time are removed."""

_NAME = re.compile(r"[0-9a-f]{64}\.json")


class _Kept(BaseModel):
    """What a file holds: the key that it was written under, when, and predictions with their digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    kept_on: str
    digest: str
    predictions: Predictions


@dataclass(frozen=True)
class PredictionCache:
    """Predictions of bases by all that they depend on.

    Attributes:
        folder: where they lie; None keeps nothing and finds nothing.
    """

    folder: Path | None = None

    @classmethod
    def chosen(cls, choice: str | None) -> PredictionCache:
        """The cache of a recipe, in the user's folder (`cache_folder`)."""
        folder = cache_folder(choice)
        return cls(None if folder is None else folder / "predictions")

    def of_base(self, asked: Asked, events: Events, label: str) -> Predictions:
        """The predictions that are kept, else those that are collected now, which are kept then.

        Args:
            asked: the base, the items, and how they are put to it.
            events: receives the progress.
            label: names the base in the progress.
        """
        with self.in_turn(asked, events):
            if (known := self.find(asked, events)) is not None:
                return known
            found = collect_predictions(asked.base, asked.preprocessor, asked.suites, asked.settings, events, label)
            self.keep(asked, found)
            return found

    @contextmanager
    def in_turn(self, asked: Asked, events: Events) -> Iterator[None]:
        """Hold the place of predictions while they are looked for and collected; whoever needs the same waits.

        Where the folder cannot be written to, nothing is held.
        """
        with ExitStack() as held:
            if (file := self._file(asked)) is not None:
                with suppress(OSError, InputError):
                    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    held.enter_context(in_turn(file, events))
            yield

    def find(self, asked: Asked, events: Events) -> Predictions | None:
        """The predictions that are kept; None where there are none, or their file is damaged or another's."""
        if (file := self._file(asked)) is None or (known := _read(file, asked)) is None:
            return None
        events.task(f"the base's predictions are those kept on {known.kept_on}")
        with suppress(OSError):
            os.utime(file)
        return known

    def keep(self, asked: Asked, found: Predictions) -> None:
        """Keep predictions; that they cannot be written is no reason to fail."""
        if (file := self._file(asked)) is not None:
            with suppress(OSError, InputError):
                _write(file, found, asked)

    def _file(self, asked: Asked) -> Path | None:
        if self.folder is None or not asked.suites or not asked.may_be_kept:
            return None
        return self.folder / f"{asked.key}.json"


NO_CACHE = PredictionCache()
"""Keeps nothing and finds nothing."""


def _read(file: Path, asked: Asked) -> Predictions | None:
    """What a file holds, with the items' texts; None where it is not there, damaged, or of another question."""
    try:
        if not file.is_file():
            return None
        kept = read_model(file, _Kept)
    except (InputError, OSError):
        return None
    found = kept.predictions
    sizes = {suite.name: len(suite.items) for suite in asked.suites}
    if kept.key != asked.key or kept.digest != _digest(found):
        return None
    if {name: len(responses) for name, responses in found.responses.items()} != sizes:
        return None
    responses = {
        suite.name: task_type_of(suite).with_texts(suite, found.responses[suite.name], asked.preprocessor)
        for suite in asked.suites
    }
    return found.model_copy(update={"responses": responses, "kept_on": kept.kept_on})


def _write(file: Path, found: Predictions, asked: Asked) -> None:
    """Write predictions without the items' texts, and make room for them."""
    bare = {
        suite.name: tuple(map(task_type_of(suite).without_texts, found.responses[suite.name])) for suite in asked.suites
    }
    left = found.model_copy(update={"responses": bare})
    text = _Kept(key=asked.key, kept_on=today(), digest=_digest(left), predictions=left).model_dump_json()
    if len(text) <= MOST_BYTES:
        write_text(file, text)
        _make_room(file)


def _make_room(newest: Path) -> None:
    """Remove what was not used for the longest time, while all files together take more than `MOST_BYTES`."""
    files = [path for path in newest.parent.iterdir() if _NAME.fullmatch(path.name) and path != newest]
    known = {path: path.stat() for path in files}
    total = newest.stat().st_size + sum(facts.st_size for facts in known.values())
    for path in sorted(known, key=lambda path: known[path].st_mtime):
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= known[path].st_size


def _digest(predictions: Predictions) -> str:
    return hashlib.sha256(predictions.model_dump_json().encode()).hexdigest()
