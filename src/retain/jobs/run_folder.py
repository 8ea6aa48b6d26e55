"""The folder of one run: its files, its state, and the identity by which it is known."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.recipe import KL, Recipe
from retain.recipe.from_run import MERGED
from retain.recipe.marks import fields_where
from retain.recipe.redact import without_secrets
from retain.records.files import write_text
from retain.records.result import Cost, CurvePoint, Result, read_result

ORIGIN = "control-base.json"
"""The base's predictions on the control data of a budget. Later runs that go on from this one are compared with it."""

CALIBRATION = "calibrate:"
"""Beginning of the names of hashes of texts to learn and to keep."""

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
        """Move all that was trained back to the place of the weights, instead of what was delivered of it."""
        if self.unscaled.exists():
            shutil.rmtree(self.weights(method), ignore_errors=True)
            shutil.rmtree(self.path / "model", ignore_errors=True)
            self.unscaled.rename(self.weights(method))

    def deliver(self, method: str, write: Callable[[], Any] | None) -> None:
        """Set aside all that was trained and write the part of it that is delivered; None: nothing is."""
        self.restore(method)
        self.weights(method).rename(self.unscaled)
        if write is not None:
            write()

    @property
    def scaling_file(self) -> Path:
        """The curve along the scaling path, and the coefficient that was chosen."""
        return self.path / "scaling.json"

    def conflict(self, identity: Identity) -> str | None:
        """The reason why this folder cannot be that run's, or None. Writes nothing."""
        other = self._known()
        if other is None:
            if self.path.exists() and any(self.path.iterdir()):
                return (
                    f"output: {self.path} is not empty and holds no run of retain; give another --output, or empty it."
                )
            return None
        own, theirs = identity["training"], other["training"]
        differing = [key for key in dict.fromkeys([*own, *theirs]) if own.get(key) != theirs.get(key)]
        if differing:
            return (
                f"output: {self.path} holds another run (it differs in {', '.join(differing)}); give another --output, "
                "or remove that folder."
            )
        return None

    def is_complete(self, identity: Identity) -> bool:
        """True if this very run is complete."""
        return self.result.exists() and self._known() == identity

    def claim(self, identity: Identity) -> None:
        """Make the folder this run's own: drop what was measured on other items, keep what was trained.

        Raises:
            InputError: it holds something else.
        """
        problem = self.conflict(identity)
        if problem:
            raise InputError(problem)
        if self._known() not in (None, identity):
            self.result.unlink(missing_ok=True)
            self.scaling_file.unlink(missing_ok=True)
            (self.path / ORIGIN).unlink(missing_ok=True)
            shutil.rmtree(self.path / MERGED, ignore_errors=True)
        write_text(self.path / "run.json", json.dumps(identity, indent=2) + "\n")

    def _known(self) -> Identity | None:
        state = self.path / "run.json"
        if not state.exists():
            return None
        known: Identity = json.loads(state.read_text(encoding="utf-8"))
        return known

    def finished(self) -> Result | None:
        """The record, if the run is complete."""
        return read_result(self.result) if self.result.exists() else None

    def training(self) -> Trained | None:
        """The facts of the training, if it is complete."""
        if not self._training.exists():
            return None
        return Trained.model_validate_json(self._training.read_text(encoding="utf-8"))

    def save_weights(self, save: Callable[[Path], Any], method: str, trained: Trained) -> None:
        """Save trained weights completely or not at all, note that training is complete, and drop its checkpoints."""
        final = self.weights(method)
        temporary = final.with_name(f".{final.name}.partial")
        shutil.rmtree(temporary, ignore_errors=True)
        save(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        write_text(self._training, trained.model_dump_json(indent=2) + "\n")
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    @property
    def _training(self) -> Path:
        return self.path / "training.json"


def output_problem(output: Path) -> list[str]:
    """The reason why a folder cannot be written into, found by writing an empty file beside it and removing that."""
    try:
        folder = next(parent for parent in (output, *output.absolute().parents) if parent.exists())
        if not folder.is_dir():
            return [f"output: {folder} is a file, not a folder."]
        with tempfile.TemporaryFile(dir=folder):
            return []
    except OSError as error:
        reason = error.strerror or str(error)
        return [f"output: {output} cannot be written ({reason}); give a folder in which you may write."]


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
