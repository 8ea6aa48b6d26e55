"""The folder of one run: what lies in it, what is done already, and what makes two runs the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from retain.errors import InputError
from retain.recipe import KL, Recipe, redacted
from retain.recipe.from_run import MERGED
from retain.records.files import write_text
from retain.records.result import Cost, CurvePoint, Result, read_result

TRAINING_FIELDS = frozenset(
    {
        "model", "method", "rank", "learning_rate", "epochs", "max_steps", "batch_size", "seed", "max_length",
        "training", "dtype", "attention", "trust_remote_code", "head",
    }
)  # fmt: skip
"""Fields of a recipe that decide what is trained; the others decide what is measured."""

CALIBRATING_FIELDS = frozenset({"beta", "calibrate_tokens", "calibrate_seed", "calibrate_precision"})
"""Fields that decide what is trained where the method is calibrated."""

UNCOMPARED_FIELDS = CALIBRATING_FIELDS | frozenset(
    {
        "output", "train", "test", "keep", "held_out_text", "methods", "seeds", "learning_rates", "calibrate_keep",
        "calibrate_learn", "calibrate_batch_size", "memory_limit", "statistics", "budget", "confidence", "alphas",
        "control_share", "kl_weight", "replay", "update_limit", "update_unit", "kl_monitor", "accelerate", "from_run",
    }
)  # fmt: skip
"""Fields that identify nothing by themselves: data count by their content, the rest by what became of them."""

ORIGIN = "control-base.json"
"""What the base of a budget answered on control data. Later runs that go on from this one are compared with it."""

Identity = dict[str, dict[str, Any]]


class Trained(BaseModel):
    """What is known once training is complete: its cost, the sizes, the adapter's configuration, what was cut."""

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
        """Every item with both answers."""
        return self.path / "items.jsonl"

    def weights(self, method: str) -> Path:
        """Where the trained weights lie: an adapter, or a whole model."""
        return self.path / ("model" if method == "full" else "adapter")

    def delivered(self, method: str) -> Path | None:
        """Where what the run delivered lies; None where a budget could not be kept."""
        return next((place for place in (self.weights(method), self.path / "model") if place.exists()), None)

    @property
    def whole(self) -> Path:
        """All that was trained, where only a part of it was delivered."""
        return self.path / "trained"

    def restore(self, method: str) -> None:
        """Put all that was trained where the weights lie, in place of what was delivered of it."""
        if self.whole.exists():
            shutil.rmtree(self.weights(method), ignore_errors=True)
            shutil.rmtree(self.path / "model", ignore_errors=True)
            self.whole.rename(self.weights(method))

    def deliver(self, method: str, write: Callable[[], Any] | None) -> None:
        """Set all that was trained aside and write what is delivered of it; None: nothing is."""
        self.restore(method)
        self.weights(method).rename(self.whole)
        if write is not None:
            write()

    @property
    def scaling_file(self) -> Path:
        """What was measured along the scaling path, and how far it was turned."""
        return self.path / "scaling.json"

    def conflict(self, identity: Identity) -> str | None:
        """Why this folder cannot be that run's, or None. Writes nothing."""
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
        """Whether this very run is done."""
        return self.result.exists() and self._known() == identity

    def claim(self, identity: Identity) -> None:
        """Make the folder this run's own; what was measured on other items is dropped, what was trained stays.

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
        """What is known of the training, if it is complete."""
        if not self._training.exists():
            return None
        return Trained.model_validate_json(self._training.read_text(encoding="utf-8"))

    def save_weights(self, save: Callable[[Path], Any], method: str, trained: Trained) -> None:
        """Save trained weights whole or not at all, note that training is complete, and drop its checkpoints."""
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
    """What speaks against writing into a folder: a file that stands in its place."""
    folder = next(parent for parent in (output, *output.absolute().parents) if parent.exists())
    if not folder.is_dir():
        return [f"output: {folder} is a file, not a folder."]
    return []


def key_of(*parts: Any) -> str:
    """The first 12 digits of the SHA-256 of what a file was made of, for its name. Lists count in their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def file_bytes(folder: Path) -> int:
    """Bytes of the weight files in a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def run_name(recipe: Recipe, siblings: list[Recipe]) -> str:
    """A short name for a run of a comparison: method, learning rate and seed; a hash where fields differ besides."""
    alike = {
        json.dumps([run.method, run.rank, run.beta], sort_keys=True, default=str)
        for run in siblings
        if run.method_name == recipe.method_name
    }
    own = json.dumps([recipe.method, recipe.rank, recipe.beta], sort_keys=True, default=str)
    kind = f"-{hashlib.sha256(own.encode()).hexdigest()[:6]}" if len(alike) > 1 else ""
    return f"{recipe.method_name}{kind}-lr{recipe.rate:g}-seed{recipe.seed}"


def identity_of(
    recipe: Recipe,
    hashes: dict[str, str],
    model_files: str,
    *,
    calibrated: bool = False,
    apart: dict[str, str] | None = None,
) -> Identity:
    """What makes a run this run, in two parts: what decides the training, and what decides the measuring.

    Args:
        recipe: of one run.
        hashes: of its data.
        model_files: the base's fingerprint.
        calibrated: whether the method starts from statistics of texts.
        apart: hashes of what texts that the base writes are kept apart from, control data among it. [what is measured]
    """
    values = json.loads(json.dumps(recipe.model_dump(mode="json"), default=str))
    values["learning_rate"] = recipe.rate
    if recipe.judge is not None:  # its command may hold a key
        values["judge"] = redacted(recipe.judge)
    deciding = TRAINING_FIELDS | (CALIBRATING_FIELDS if calibrated else frozenset())
    training = {key: values[key] for key in sorted(deciding)}
    training |= _regularisers(recipe)
    if calibrated or recipe.needs_keep_text:
        training |= {key: value for key, value in hashes.items() if key.startswith("calibrate:")}
        if recipe.writes_itself:  # without what is measured, so that it depends on that
            measured = {key: value for key, value in hashes.items() if _is_measured(key)} if apart is None else apart
            training |= {f"apart from {key}": value for key, value in measured.items()}
    measuring = {key: value for key, value in values.items() if key not in TRAINING_FIELDS | UNCOMPARED_FIELDS}
    if recipe.budget:
        measuring |= {key: values[key] for key in ("budget", "confidence", "alphas", "control_share")}
    return {
        "training": training | {"train data": hashes.get("train"), "model files": model_files},
        "measuring": measuring | {key: value for key, value in hashes.items() if _is_measured(key)},
    }


def _regularisers(recipe: Recipe) -> dict[str, Any]:
    """The means that act on the training, those that are used alone; runs without them stay what they were."""
    found = {name: getattr(recipe, name) for name in ("kl_weight", "replay", "update_limit") if getattr(recipe, name)}
    if recipe.update_limit:
        found["update_unit"] = recipe.update_unit
    found |= {name: True for name in ("kl_monitor", "accelerate") if getattr(recipe, name)}
    if recipe.limits_training:
        found["kl limit"] = recipe.budget.get(KL)
    if recipe.needs_keep_text:
        found |= {name: getattr(recipe, name) for name in ("calibrate_tokens", "calibrate_seed")}
    return found


def _is_measured(name: str) -> bool:
    return name != "train" and not name.startswith("calibrate:")
