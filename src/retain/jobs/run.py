"""One run of `retain tune`: all that its stages share, made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from retain.data.item import items_hash
from retain.data.preprocess import Preprocessor
from retain.evaluate.batching import head_batching
from retain.evaluate.suites.suite import Settings
from retain.events import Events
from retain.hf.adapters.load import load_adapter
from retain.hf.models.head import restore_head, save_head, saved_labels
from retain.jobs.cache_folder import cache_folder
from retain.jobs.identity import Identity, identity_of
from retain.jobs.in_turn import InTurn, in_turn
from retain.jobs.inputs.data import Data
from retain.jobs.inputs.model_files import files_fingerprint
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.prepare import Prepared
from retain.jobs.inputs.read import settings_of
from retain.jobs.inputs.teachers import teacher_of
from retain.jobs.prediction_cache import PredictionCache
from retain.jobs.run_folder import RunFolder
from retain.jobs.state_files import key_of
from retain.methods import lookup
from retain.recipe import Recipe
from retain.records.recommended import kind_of
from retain.train.linear_probe import fit_head


@dataclass(frozen=True)
class Run:
    """Recipe, data, preprocessor and folders of one run; its methods load the models.

    Attributes:
        recipe: of one run.
        data: what it learns, measures and calibrates on.
        preprocessor: makes the model's inputs.
        folder: where its files lie.
        shared: where files lie that runs on the same base share: its predictions, its head, its second moments.
        events: receives the progress.
        in_turn: holds the place of a shared file or folder while this run makes it, or finds it made.
    """

    recipe: Recipe
    data: Data
    preprocessor: Preprocessor
    folder: RunFolder
    shared: Path
    events: Events
    in_turn: InTurn = in_turn

    @classmethod
    def of(cls, recipe: Recipe, prepared: Prepared, events: Events, shared: Path | None = None) -> Run:
        """The run of a recipe; without a shared folder its own serves."""
        recipe, folder = recipe.of_kind(kind_of(prepared.data.family)), RunFolder(Path(recipe.output))
        return cls(recipe, prepared.data, prepared.preprocessor, folder, shared or folder.path, events)

    @property
    def method(self) -> str:
        """The method's name."""
        return self.recipe.method_name

    @property
    def is_calibrated(self) -> bool:
        """True if the method begins from what texts do in the base: their second moments, or their gradients."""
        return bool(lookup.calibration(self.method, self.recipe.method_fields))

    @property
    def settings(self) -> Settings:
        """The settings by which it measures."""
        return settings_of(self.recipe)

    @property
    def cache(self) -> PredictionCache:
        """Predictions of bases that runs in any folder share."""
        return PredictionCache.chosen(self.recipe.cache)

    @property
    def spec(self) -> ModelSpec:
        """The base, as it is loaded."""
        return ModelSpec.of(self.recipe, self.data.family, self.data.labels)

    @cached_property
    def model_files(self) -> str:
        """The fingerprint of the base's files."""
        return files_fingerprint(self.recipe.model, cache_folder(self.recipe.cache), self.events)

    @cached_property
    def identity(self) -> Identity:
        """All by which this run differs from another in the same folder."""
        teacher = teacher_of(self.recipe, self.data.family, self.data.labels)
        return identity_of(
            self.recipe,
            self.data.hashes,
            self.model_files,
            calibrated=self.is_calibrated,
            apart=self.data.everything_hashes,
            teacher=None if teacher is None else teacher.files,
        )

    def conflict(self) -> str | None:
        """The reason why its folder cannot be this run's, or None; a free folder is told without reading the model."""
        return None if self.folder.is_free else self.folder.conflict(self.identity)

    @property
    def head_folder(self) -> Path:
        """The folder of the base's fitted head, named by all that the head depends on."""
        base = [self.model_files, self.spec.dtype]
        key = key_of(base, items_hash(self.data.train), self.data.labels, self.preprocessor.max_length)
        return self.shared / f"head-{key}"

    def base(self) -> Any:
        """Load the base, with a head for the classes of the data: its own, or a new one, fitted once and kept."""
        model, head_is_new = self.spec.load()
        if head_is_new and self.recipe.head != "random":
            self._give_head(model)
        return model

    def trained(self, base: Any, weights: Path) -> Any:
        """Load what was trained: a whole model, or an adapter onto the base."""
        if weights.name == "model":
            return self.spec.at(weights).load().model
        return load_adapter(base, weights).eval()

    def _give_head(self, model: Any) -> None:
        folder, data = self.head_folder, self.data
        with self.in_turn(folder, self.events):
            if saved_labels(folder) is None:
                batch_size = self.recipe.evaluation_batch_size
                batching = head_batching(model, self.preprocessor, data.train)
                fit_head(model, self.preprocessor, data.train, data.labels, batch_size, self.events, batching)
                folder.mkdir(parents=True, exist_ok=True)
                save_head(model, data.labels, folder)
        restore_head(model, folder)
