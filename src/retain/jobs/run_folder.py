"""The folder of one run: its files, its state, and the identity by which it is known."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.recipe import KL, Recipe
from retain.recipe.from_run import MERGED
from retain.recipe.marks import fields_where
from retain.recipe.redact import without_secrets
from retain.records.checkpoint_seal import SEAL, remove_checkpoints
from retain.records.files import is_bookkeeping, new_folder, write_text
from retain.records.manifest import (
    begin,
    changed,
    check_unchanged,
    digest_of,
    file_digest,
    foreign,
    last_written,
    log_above,
    move,
    note_file,
    note_tree,
    remove,
    set_aside,
    tree_digests,
)
from retain.records.reading import read_json_mapping, read_model
from retain.records.result import Cost, CurvePoint, Result, read_result
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
)
"""Files by which a run goes on, and its record."""

CALIBRATION = "calibrate:"
"""Beginning of the names of hashes of texts to learn and to keep."""

Model = TypeVar("Model", bound=BaseModel)
Identity = dict[str, dict[str, Any]]


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
        present = [path for path in self.path.iterdir() if not is_bookkeeping(path)] if self.path.exists() else []
        if not present or self._was(identity):
            return None
        if not (self.path / "run.json").exists():
            return f"output: {self.path} is not empty and holds no run of retain; give another --output, or empty it."
        return self._difference(identity["training"]) if self._trained_something() else None

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
            if path.is_dir() and path.name in {"adapter", "model", self.unscaled.name, MERGED}:
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
        return known

    def _trained_something(self) -> bool:
        """True if work would be lost that took training: weights, checkpoints that are whole, or a record."""
        places = (self._training, self.result, self.unscaled, self.path / "adapter", self.path / "model")
        return any(place.exists() for place in places) or any(self.checkpoints.glob(f"*/{SEAL}"))

    def finished(self) -> Result | None:
        """The record, if the run is complete.

        Raises:
            InputError: it was changed or damaged since.
        """
        if not self.result.exists():
            return None
        try:
            return read_result(self.result)
        except InputError as error:
            raise InputError(
                [*error.problems, f"{self.result}: move it away, and the same command measures this run again."]
            ) from error

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


def rewrite(path: Path, text: str) -> None:
    """Write a file of a run's state; one that is not as retain wrote it is kept under another name."""
    if log_above(path) is not None and path.is_file() and path.read_bytes() != text.encode() and foreign(path):
        set_aside(path, f"{path} is not what retain wrote there.")
    write_text(path, text)


def read_or_none(path: Path, model: type[Model]) -> Model | None:
    """Read a file that can be made anew; None where there is none, or where it is not as retain wrote it."""
    if not path.is_file() or changed(path):
        return None
    try:
        return read_model(path, model)
    except InputError:
        return None


def output_problem(output: str | Path) -> list[str]:
    """The reason why a folder cannot be written into: it has no name, a file stands in its place, it is read-only."""
    if not str(output).strip() or "\0" in str(output):
        return [f"output: {str(output)!r} names no folder; say --output runs/first, for instance."]
    place = Path(output)
    try:
        folder = next(parent for parent in (place, *place.absolute().parents) if parent.exists() or parent.is_symlink())
    except OSError as error:
        return [f"output: {output} cannot be used ({error.strerror or error}); give another --output."]
    if not folder.is_dir():
        what = "a link that leads nowhere" if folder.is_symlink() and not folder.exists() else "a file, not a folder"
        return [f"output: {folder} is {what}."]
    if place != folder and not _can_make_folders(folder):
        return [f"output: nothing can be written into {folder}; give another --output."]
    return []


def _can_make_folders(folder: Path) -> bool:
    """Try it: permissions alone do not tell of read-only storage and of the systems' own folders."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".retain-"):
            return True
    except OSError:
        return False


def key_of(*parts: Any) -> str:
    """The first 12 digits of the SHA-256 of what a file was made of, for its name. Lists count in their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def file_bytes(folder: Path) -> int:
    """Bytes of the weight files in a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def run_name(recipe: Recipe, siblings: list[Recipe]) -> str:
    """A short name for a run of a comparison: method, learning rate and seed; a hash where other fields differ."""
    keys = {run.method_key for run in siblings if run.method_name == recipe.method_name}
    own = f"-{hashlib.sha256(recipe.method_key.encode()).hexdigest()[:6]}" if len(keys) > 1 else ""
    return f"{recipe.method_name}{own}-lr{recipe.rate:g}-seed{recipe.seed}"


def identity_of(
    recipe: Recipe,
    hashes: dict[str, str],
    model_files: str,
    *,
    calibrated: bool = False,
    apart: dict[str, str] | None = None,
) -> Identity:
    """The identity of a run, in two parts: what decides the training, and what decides the measuring.

    A field stands in a part as its mark says (`retain.recipe.marks.Decides`); data stand there by their hashes.

    Args:
        recipe: of one run.
        hashes: of its data.
        model_files: the base's fingerprint.
        calibrated: whether the method's initialisation is data-driven.
        apart: hashes of what generated text is kept apart from, control data among it. [what is measured]
    """
    values = _plain_values(recipe)
    measured = {name: value for name, value in hashes.items() if _is_measured(name)}
    always = {"training", "initialisation", "text"} if calibrated else {"training"}
    training = {name: values[name] for name in sorted(_fields(always))}
    training |= {name: values[name] for name in _fields_in_use(recipe, {"training"})}
    if recipe.limits_training:
        training["kl limit"] = recipe.budget.get(KL)
    if calibrated or recipe.needs_keep_text:
        training |= {name: values[name] for name in _fields({"text"})}
        training |= {name: value for name, value in hashes.items() if name.startswith(CALIBRATION)}
        if recipe.generates_keep_text:  # without what is measured, so that it depends on that
            training |= {f"apart from {name}": value for name, value in (measured if apart is None else apart).items()}
    measuring = {name: values[name] for name in _fields({"measuring", "items"})}
    measuring |= {name: values[name] for name in _fields_in_use(recipe, {"measuring"})}
    return {
        "training": training | {"train data": hashes.get("train"), "model files": model_files},
        "measuring": measuring | measured,
    }


def _plain_values(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe as JSON knows them: the learning rate as it is used, secrets redacted."""
    values: dict[str, Any] = json.loads(json.dumps(recipe.model_dump(mode="json"), default=str))
    values["learning_rate"] = recipe.rate
    return without_secrets(values, Recipe)


def _fields(parts: set[str]) -> tuple[str, ...]:
    """The fields that decide one of some parts in every run."""
    return fields_where(Recipe, lambda decides: decides.part in parts and not decides.when)


def _fields_in_use(recipe: Recipe, parts: set[str]) -> tuple[str, ...]:
    """The fields that decide one of some parts under a condition that holds in this run."""
    return fields_where(
        Recipe, lambda decides: decides.part in parts and bool(decides.when and getattr(recipe, decides.when))
    )


def _is_measured(name: str) -> bool:
    return name != "train" and not name.startswith(CALIBRATION)
