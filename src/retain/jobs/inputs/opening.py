"""A tuned model and its base, opened from folders or hub ids, with what reads for them and the items to put to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from retain.data.preprocess import Preprocessor, broken_images, labels_of
from retain.data.rows import AnyItem, Rows, read_rows
from retain.errors import InputError
from retain.evaluate.encode import class_names
from retain.evaluate.pair import Pair
from retain.evaluate.suites.suite import Suites
from retain.hf.adapters.load import is_adapter, load_adapter
from retain.hf.models.describe import model_hash
from retain.hf.models.head import restore_head, saved_labels
from retain.hf.models.sides import mutates_base
from retain.jobs.inputs.families import family_of, judge_problems, unknown_classes, wrong_kinds
from retain.jobs.inputs.models import Family, brings_head, classes_beside, load_preprocessor, load_with_news
from retain.jobs.inputs.prepare import read_suites
from retain.jobs.run_folder import output_problem
from retain.recipe import TunedModelOptions
from retain.train.linear_probe import fit_head


@dataclass(frozen=True)
class Opened:
    """What a recipe names beside the models: the items to put to them, labelled data, and what to load them as."""

    suites: Suites
    train: Sequence[AnyItem]
    family: Family


def read_opened(recipe: TunedModelOptions, problems: list[str]) -> Opened:
    """Read what is put to a tuned model and its base, adding each problem found, those of the places among them."""
    suites = read_suites(recipe, problems)
    train = read_rows(recipe.train, problems) if recipe.train else Rows("", [])
    family = _family(recipe, train.form or None, suites)
    problems += wrong_kinds(family, suites)
    problems += judge_problems(recipe.judge)
    problems += _place_problems(recipe)
    problems += broken_images([*train.items, *suites.measured_items])
    return Opened(suites, train.items, family)


class Opening:
    """The base first, so that it can be asked before an adapter is put on it; then the pair.

    Args:
        recipe: names both models.
        materials: as `read_opened` gives them.
        progress: display.

    Raises:
        InputError: the base cannot be loaded, or does not know the classes that are asked for.
    """

    def __init__(self, recipe: TunedModelOptions, materials: Opened, progress: Progress) -> None:
        self._recipe, self._materials, self._progress = recipe, materials, progress
        self.notes: list[str] = []
        trusting = recipe.trust_remote_code
        self.preprocessor = load_preprocessor(
            recipe.model, materials.family, recipe.max_length, trust_remote_code=trusting
        )
        self._classes = _labels(recipe, materials.train, materials.suites)
        self.base = self._load_base(self.notes)
        known = class_names(self.base) if materials.family.endswith("classifier") else []
        if harness := unknown_classes(known, materials.suites):
            raise InputError(harness)
        self.base_hash = model_hash(self.base)

    def pair(self) -> Pair:
        """Base and tuned model; the adapter is put on `base`.

        Raises:
            InputError: the tuned model cannot be loaded.
        """
        recipe = self._recipe
        if not is_adapter(recipe.tuned):
            return Pair(_tuned(recipe, self._materials.family, self._classes), self.base)
        tuned = load_adapter(self.base, recipe.tuned)
        return Pair(tuned, self._load_base([]) if mutates_base(tuned) else None)

    def fresh_base(self) -> Any:
        """The base loaded once more, without an adapter."""
        return self._load_base([])

    def _load_base(self, notes: list[str]) -> Any:
        materials = self._materials
        return _base(
            self._recipe, materials.family, self._classes, self.preprocessor, materials.train, notes, self._progress
        )


def _family(recipe: TunedModelOptions, form: str | None, suites: Suites) -> Family:
    """As the data say; features of an adapter that was trained as a classifier are those of the classifier's body."""
    family = family_of(form, suites)
    if saved_labels(Path(recipe.tuned).expanduser()) is None:
        return family
    classifiers: dict[Family, Family] = {"text-features": "text-classifier", "image-features": "image-classifier"}
    return classifiers.get(family, family)


def _place_problems(recipe: TunedModelOptions) -> list[str]:
    output, tuned = Path(recipe.output), Path(recipe.tuned)
    problems = output_problem(output)
    if (output / "run.json").exists():
        problems.append(f"output: {output} holds a run of retain tune, whose record would be replaced; give another.")
    if tuned.is_dir() and not is_adapter(recipe.tuned) and not (tuned / "config.json").exists():
        problems.append(
            f"tuned: {recipe.tuned} holds neither an adapter (adapter_config.json) nor a model (config.json)."
        )
    elif recipe.tuned.startswith((".", "/")) and not tuned.exists():
        problems.append(f"tuned: there is no folder {recipe.tuned}.")
    return problems


def _told_labels(recipe: TunedModelOptions) -> list[str]:
    """The classes in the order of the tuned model's outputs, as far as its files or the recipe tell."""
    tuned = Path(recipe.tuned).expanduser()
    return saved_labels(tuned) or classes_beside(tuned) or list(recipe.labels)


def _labels(recipe: TunedModelOptions, train: Sequence[AnyItem], suites: Suites) -> list[str]:
    """The classes: those that the tuned model's files or the recipe name, else the training data's, else the tests'."""
    asked = [item for suite in suites.all if suite.task_type == "labels" for item in suite.items]
    return _told_labels(recipe) or labels_of(train) or labels_of(asked)


def _base(
    recipe: TunedModelOptions,
    family: Family,
    labels: Sequence[str],
    preprocessor: Preprocessor,
    train: Sequence[AnyItem],
    notes: list[str],
    progress: Progress,
) -> Any:
    """The base; a classifier without a head for these classes gets the saved one, or one that is fitted on `train`.

    Raises:
        InputError: it cannot be loaded; or the tuned model's head has classes whose order nothing tells.
    """
    model, is_new = load_with_news(
        recipe.model,
        recipe.dtype,
        family=family,
        labels=labels,
        attention=recipe.attention,
        trust_remote_code=recipe.trust_remote_code,
    )
    tuned = Path(recipe.tuned).expanduser()
    if not is_new:
        return model
    if not _told_labels(recipe) and is_adapter(recipe.tuned) and brings_head(recipe.tuned):
        raise InputError(
            f"labels: {recipe.tuned} brings a trained head, and nothing beside it tells which output is which class; "
            f"give the classes in the order of its outputs, as labels: {','.join(labels[:8])}; or put the config.json "
            "of the model that it was trained on beside it (id2label)."
        )
    if saved_labels(tuned) is not None:
        restore_head(model, tuned)
    elif train:
        fit_head(model, preprocessor, train, labels, recipe.evaluation_batch_size, progress)
    else:
        notes.append(
            "The base has no head for these classes, so it guesses: what its features can tell is not measured. Give "
            "labelled data as --train, and a head is fitted on them first."
        )
    return model


def _tuned(recipe: TunedModelOptions, family: Family, labels: Sequence[str]) -> Any:
    """A whole tuned model.

    Raises:
        InputError: it cannot be loaded, or it is to judge classes that it has no head for.
    """
    model, is_new = load_with_news(
        recipe.tuned,
        recipe.dtype,
        family=family,
        labels=labels,
        attention=recipe.attention,
        trust_remote_code=recipe.trust_remote_code,
    )
    if is_new:
        raise InputError(
            f"tuned: {recipe.tuned} has no trained head for the classes {', '.join(labels[:8])}; name them in the data "
            "as in its config.json (id2label)."
        )
    return model
