"""The folder of one run: its files and its state."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.jobs.identity import Identity
from retain.jobs.state_files import rewrite
from retain.recipe.from_run import MERGED
from retain.recipe.reporting import without_reporting
from retain.records.checkpoint_seal import SEAL, remove_checkpoints
from retain.records.files import is_bookkeeping, new_folder, write_text
from retain.records.items import unlike_record
from retain.records.manifest import (
    begin,
    changed,
    check_unchanged,
    digest_of,
    file_digest,
    last_written,
    log_above,
    move,
    note_file,
    note_tree,
    remove,
    tree_digests,
)
from retain.records.reading import read_json_mapping, read_model
from retain.records.result import Cost, CurvePoint, Result, read_result
from retain.records.storage import file_in_the_way
from retain.records.tracker_notes import NOTES

ORIGIN = "control-base.json"
"""The base's predictions on the control data of a budget. Later runs that go on from this one are compared with it."""

STATE = (
    "run.json",
    "recipe.json",
    "training.json",
    "result.json",
    "items.jsonl",
    "scaling.json",
    ORIGIN,
    NOTES,
    "base-*.json",
    "teacher-*.json",
    "teacher-*.safetensors",
    "probe-*.json",
)
"""Files by which a run goes on, and its record."""

WEIGHTS = ("adapter", "model")
"""Folders of trained weights in a run's folder."""


class Trained(BaseModel):
    """Facts of a complete training: its cost, the sizes, the adapter's configuration, what was cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: Cost
    trainable: int
    total: int
    config: dict[str, Any]
    model_hash: str
    notes: tuple[str, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run and its state: nothing, trained, or complete."""

    path: Path

    @property
    def result(self) -> Path:
        """The record."""
        return self.path / "result.json"

    @property
    def items(self) -> Path:
        """Every item with the answers of both models."""
        return self.path / "items.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints of a training that is not complete."""
        return self.path / "checkpoints"

    def weights(self, method: str) -> Path:
        """The path of the trained weights: an adapter, or a full model."""
        return self.path / ("model" if method == "full" else "adapter")

    def delivered(self, method: str) -> Path | None:
        """The path of what the run delivered; None where a budget could not be kept."""
        return next((place for place in (self.weights(method), self.path / "model") if place.exists()), None)

    @property
    def unscaled(self) -> Path:
        """The path of all that was trained, where only a part of it was delivered."""
        return self.path / "trained"

    def restore(self, method: str) -> None:
        """Move all that was trained back to the place of the weights, instead of what was delivered of it.

        Raises:
            InputError: something else lies there.
        """
        if self.unscaled.exists():
            remove(self.path / "model")
            move(self.unscaled, self.weights(method))

    def check_weights(self, method: str) -> None:
        """Refuse trained weights that are not those that were written.

        Raises:
            InputError: they were damaged since, or are those of another run.
        """
        place = self.unscaled if self.unscaled.exists() else self.weights(method)
        if problems := changed(place):
            raise InputError(
                f"{problems[0]} So what was trained is not known to be whole: put back the original, or move "
                f"{place.name} and {self._training.name} away, and the same command trains again."
            )

    def deliver(self, method: str, write: Callable[[], Any] | None) -> None:
        """Set aside all that was trained and write the part of it that is delivered; None: nothing is."""
        self.restore(method)
        move(self.weights(method), self.unscaled)
        if write is not None:
            write()

    @property
    def scaling_file(self) -> Path:
        """The curve along the scaling path, and the coefficient that was chosen."""
        return self.path / "scaling.json"

    def conflict(self, identity: Identity) -> str | None:
        """The reason why this folder cannot be that run's, or None. Writes nothing.

        A run that trained nothing yet does not keep its folder from another.
        """
        if self.is_free or self._was(identity):
            return None
        return self.in_the_way() or (self._difference(identity["training"]) if self._trained_something() else None)

    @property
    def is_free(self) -> bool:
        """True if no run was begun there and nothing is in the way."""
        return not (self.path / "run.json").exists() and self.in_the_way() is None

    def in_the_way(self) -> str | None:
        """The reason why this folder can be no run's, or None."""
        if told := file_in_the_way(self.path):
            return f"output: {told}"
        present = [path for path in self.path.iterdir() if not is_bookkeeping(path)] if self.path.exists() else []
        if present and not (self.path / "run.json").exists():
            return f"output: {self.path} is not empty and holds no run of retain; give another --output, or empty it."
        return None

    def _difference(self, own: dict[str, Any]) -> str | None:
        """The reason why the training that the folder holds is another one, or None."""
        try:
            theirs = self._known()["training"]
        except InputError as error:
            found = f"a run, but which one cannot be told ({error})"
        else:
            differing = [key for key in dict.fromkeys([*own, *theirs]) if own.get(key) != theirs.get(key)]
            if not differing:
                return None
            found = f"another run (it differs in {', '.join(differing)})"
        return f"output: {self.path} holds {found}; give another --output, or remove that folder."

    def is_complete(self, identity: Identity) -> bool:
        """True if this very run is complete."""
        return self.result.exists() and self._was(identity)

    def claim(self, identity: Identity) -> None:
        """Make the folder this run's own: drop what was measured on other items, keep what was trained.

        Raises:
            InputError: it holds something else.
        """
        problem = self.conflict(identity)
        if problem:
            raise InputError(problem)
        if not self._was(identity):
            for path in (self.result, self.scaling_file, self.path / ORIGIN, self.path / MERGED):
                remove(path)
            if not self._trained_something():  # another training, so other runs of the trackers
                remove(self.path / NOTES)
        rewrite(self.path / "run.json", _written(identity))

    def adopt(self) -> None:
        """Note the files of a run whose log is missing: of an earlier version, or lost when the folder was copied.

        Reports are left out, since nothing tells whether a person wrote on them.
        """
        if log_above(self.path) == self.path.absolute() or not (self.path / "run.json").is_file():
            return
        begin(self.path)
        for path in self.path.iterdir():
            if path.is_dir() and path.name in {*WEIGHTS, self.unscaled.name, MERGED}:
                note_tree(path, tree_digests(path))
            elif path.is_file() and any(fnmatch(path.name, pattern) for pattern in STATE):
                note_file(path, file_digest(path))
        for path in self.checkpoints.glob(f"*/{SEAL}"):
            note_file(path, file_digest(path))

    def _was(self, identity: Identity) -> bool:
        """True if the folder holds that very run; where `run.json` is damaged, by the hash that was noted of it."""
        state = self.path / "run.json"
        try:
            check_unchanged(state)
            return self._known() == identity
        except InputError:
            return last_written(state) == digest_of(_written(identity).encode())

    def _known(self) -> Identity:
        """The identity of the run that the folder holds.

        Raises:
            InputError: there is none, or it is damaged.
        """
        state = self.path / "run.json"
        known = read_json_mapping(state)
        if not all(isinstance(known.get(part), dict) for part in ("training", "measuring")):
            raise InputError(f"{state}: damaged (it does not say what was trained and measured).")
        if isinstance(settings := known["training"].get("training"), dict):  # earlier versions noted all of them
            known["training"]["training"] = without_reporting(settings)
        return known

    def _trained_something(self) -> bool:
        """True if work would be lost that took training: weights, checkpoints that are whole, or a record."""
        places = (self._training, self.result, self.unscaled, self.path / "adapter", self.path / "model")
        return any(place.exists() for place in places) or any(self.checkpoints.glob(f"*/{SEAL}"))

    def finished(self) -> Result | None:
        """The record, if the run is complete.

        Of what was delivered only the sizes are looked at, so that this takes no longer for a large model.

        Raises:
            InputError: it was changed or damaged since, or the items, or what was delivered.
        """
        if not self.result.exists():
            return None
        try:
            found = read_result(self.result)
        except InputError as error:
            raise InputError(
                [*error.problems, f"{self.result}: move it away, and the same command measures this run again."]
            ) from error
        if self.items.is_file() and (reason := unlike_record(self.items, found.provenance.items_hash)):
            raise InputError(
                f"{reason} It was cut or edited: put back the original; or move {self.items.name} and "
                f"{self.result.name} away, and the same command measures this run again."
            )
        weights = [place for name in (*WEIGHTS, self.unscaled.name) if (place := self.path / name).is_dir()]
        if problems := [problem for place in weights for problem in changed(place, sizes_only=True)]:
            raise InputError(
                f"{problems[0]} So the record is not of what lies there: put back the original, or give another "
                "--output."
            )
        return found

    def training(self) -> Trained | None:
        """The facts of the training, if it is complete.

        Raises:
            InputError: they were damaged since.
        """
        if not self._training.exists():
            return None
        try:
            check_unchanged(self._training)
            return read_model(self._training, Trained)
        except InputError as error:
            raise InputError(
                f"{error} What the training cost and how its loss went stood there only: move {self._training.name} "
                "and the weights beside it away, and the same command trains again."
            ) from error

    def save_weights(self, save: Callable[[Path], Any], method: str, trained: Trained) -> None:
        """Save trained weights completely or not at all, note that training is complete, and drop its checkpoints."""
        with new_folder(self.weights(method)) as place:
            save(place)
        write_text(self._training, trained.model_dump_json(indent=2) + "\n")
        remove_checkpoints(self.checkpoints)

    @property
    def _training(self) -> Path:
        return self.path / "training.json"


def _written(identity: Identity) -> str:
    """The text of a `run.json`."""
    return json.dumps(identity, indent=2) + "\n"


def file_bytes(folder: Path) -> int:
    """Bytes of the weight files in a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
