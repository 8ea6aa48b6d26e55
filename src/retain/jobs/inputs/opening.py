"""A tuned model and its base, opened from folders or hub ids, with their preprocessor and their data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from retain.data.family import Family, family_for, modality_of
from retain.data.forms import Rows
from retain.data.images import broken_images
from retain.data.item import DataItem, labels_of
from retain.data.preprocess import Preprocessor
from retain.data.sample import looked_at
from retain.errors import InputError
from retain.evaluate.batching import head_batching
from retain.evaluate.encode import class_names
from retain.evaluate.pair import Pair
from retain.evaluate.refusal_judges import judge_problems
from retain.evaluate.suites.suite import Suites
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import first_refusal
from retain.events import Events
from retain.hf.adapters.folder import adapter_folder, inner_adapters, is_adapter, stored_shapes, value_fault
from retain.hf.adapters.load import load_adapter, name_notes
from retain.hf.adapters.origin import origin_notes
from retain.hf.models.describe import model_hash
from retain.hf.models.head import restore_head, saved_labels
from retain.hf.models.placement import placement_note
from retain.hf.models.quantization import quantization_note
from retain.hf.models.sides import is_adapted, note_replaced, root_of
from retain.hf.models.vocabulary import give_rows, rows_in_file, rows_of
from retain.jobs.inputs.alike import build_notes, common_dtype, make_room, share_ends, vocabulary_notes
from retain.jobs.inputs.beside import choose_preprocessor
from retain.jobs.inputs.classes_told import brings_head, classes_beside
from retain.jobs.inputs.families import family_of, unknown_classes, unmeasurable
from retain.jobs.inputs.lengths import positions_for
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.read import read_suites, read_train, settings_of
from retain.jobs.inputs.relearn_checks import relearn_problems
from retain.jobs.output_place import output_problem
from retain.recipe import TunedModelOptions
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded, is_path
from retain.report.write import holding_problem
from retain.train.linear_probe import fit_head


@dataclass(frozen=True)
class TunedData:
    """The data of a recipe for a model that was tuned already.

    Attributes:
        suites: items that are measured.
        train: labelled items; a base without a head for these classes gets one that is fitted on them.
        family: the class that both models are loaded as.
    """

    suites: Suites
    train: Sequence[DataItem]
    family: Family


def read_tuned_data(recipe: TunedModelOptions, problems: list[str]) -> TunedData:
    """Read the data of a recipe; add each problem found, those of its folders included."""
    suites = read_suites(recipe, problems)
    train = read_train(recipe.train, recipe.columns, problems) if recipe.train else Rows("", [])
    family = _family(recipe, train.form or None, suites)
    problems += unmeasurable(family, suites)
    problems += judge_problems(recipe.judge)
    problems += _place_problems(recipe)
    problems += broken_images([*train.items, *suites.measured_items])
    if recipe.quantization is not None or recipe.device_map is not None:
        problems += _loading_problems(recipe, family)
    return TunedData(suites, train.items, family)


def _loading_problems(recipe: TunedModelOptions, family: Family) -> list[str]:
    """The reasons why the base cannot be quantised or placed as asked."""
    try:
        return ModelSpec.of(recipe, family).loading_problems()
    except InputError as error:
        return list(error.problems)


class Opening:
    """The models of a recipe: the base is loaded at once, so that it can be measured before an adapter is put on it.

    Args:
        recipe: names both models.
        data: their data.
        events: receives the progress.

    Attributes:
        spec: how the base is loaded.
        preprocessor: makes the inputs of both models.
        base: the base.
        base_hash: of its weights.
        notes: for the record.

    Raises:
        InputError: the base cannot be loaded, or does not know the classes of the data.
    """

    def __init__(self, recipe: TunedModelOptions, data: TunedData, events: Events) -> None:
        self._recipe, self._data, self._events = recipe, data, events
        spec = ModelSpec.of(recipe, data.family, _labels(recipe, data))
        self.spec = replace(spec, is_finished=not _labels_by_files(recipe))
        chosen = choose_preprocessor(recipe, self.spec, positions_for(recipe, self.spec))
        self.notes = list(chosen.notes)
        self.preprocessor = chosen.preprocessor
        if problems := _prompt_problems(recipe, data, self.preprocessor):
            raise InputError([*problems, *([chosen.hint] if chosen.hint else [])])
        self.base = self._load_base()
        known = class_names(self.base) if data.family.endswith("classifier") else []
        if problems := unknown_classes(known, data.suites):
            raise InputError(problems)
        self.base_hash = model_hash(self.base)
        self.notes += placement_note(self.base)

    def pair(self) -> Pair:
        """Load the tuned model and pair it with its base, under the same conditions; an adapter is put on `base`.

        Raises:
            InputError: the tuned model cannot be loaded, or is not of this base.
        """
        self.notes += make_room(self.base, self.preprocessor)
        check_unchanged(expanded(self._recipe.tuned))
        pair = self._with_adapter() if is_adapter(self._recipe.tuned) else self._with_whole_model()
        base = self.base if pair.separate_base is None else pair.separate_base
        self.notes += quantization_note(root_of(base), root_of(pair.tuned_model))
        if pair.separate_base is not None:
            self.notes += share_ends(pair.separate_base, pair.tuned_model)
            self.notes += vocabulary_notes(pair.separate_base, pair.tuned_model)
            self.notes += [] if is_adapted(pair.tuned_model) else build_notes(pair.separate_base, pair.tuned_model)
        return pair

    def _with_adapter(self) -> Pair:
        tuned = self._recipe.tuned
        rows, brought = rows_of(self.base), rows_in_file(self.base, stored_shapes(adapter_folder(tuned)))
        resized = brought is not None and brought != rows
        if brought is not None and resized:
            give_rows(self.base, brought)
            self.notes.append(
                f"The adapter brings embeddings of {brought} tokens; the base has {rows}, and was left so on its side."
            )
        self.notes += origin_notes(adapter_folder(tuned), self.base)
        model = load_adapter(self.base, tuned)
        self.notes += name_notes(model)
        if resized:
            note_replaced(model, f"the adapter at {tuned} brings a vocabulary of {brought} tokens")
        return Pair.around(model, self._separate_base)

    def _with_whole_model(self) -> Pair:
        tuned = _load_tuned(self.spec.at(self._recipe.tuned, "tuned"))
        common = common_dtype(self.base, tuned)
        if common is not None:
            self.notes.append(
                f"The base's weights are {_dtype(self.base)} and the tuned model's {_dtype(tuned)}; both were loaded "
                f"in {common}, which holds either exactly. --dtype chooses another for both."
            )
            self.spec = replace(self.spec, dtype=common)
            self.base = self._separate_base()
            tuned = _load_tuned(self.spec.at(self._recipe.tuned, "tuned"))
        return Pair(tuned, self.base)

    def _separate_base(self) -> Any:
        model = self._load_base()
        make_room(model, self.preprocessor)
        return model

    def _load_base(self) -> Any:
        model, head_is_new = self.spec.load()
        if head_is_new:
            self._give_head(model)
        return model

    def _give_head(self, model: Any) -> None:
        """Give a classifier the head that lies beside the tuned model, or one that is fitted on the training data.

        Raises:
            InputError: the tuned model's head has classes whose order nothing tells.
        """
        recipe, tuned = self._recipe, expanded(self._recipe.tuned)
        labels = self.spec.labels
        if not _labels_by_files(recipe) and is_adapter(recipe.tuned) and brings_head(recipe.tuned):
            raise InputError(
                f"labels: {recipe.tuned} brings a trained head, and nothing beside it tells which output is which "
                f"class; give the classes in the order of its outputs, as labels: {','.join(labels[:8])}; or put the "
                "config.json of the model that it was trained on beside it (id2label)."
            )
        if saved_labels(tuned) is not None:
            restore_head(model, tuned)
        elif self._data.train:
            batch_size = recipe.evaluation_batch_size
            batching = head_batching(model, self.preprocessor, self._data.train)
            fit_head(model, self.preprocessor, self._data.train, labels, batch_size, self._events, batching)
        elif not self.notes:
            self.notes.append(
                "The base has no head for these classes, so it guesses: what its features can tell is not measured. "
                "Give labelled data as --train, and a head is fitted on them first."
            )


def _prompt_problems(recipe: TunedModelOptions, data: TunedData, preprocessor: Preprocessor) -> list[str]:
    """A sentence for each part of the data that this tokenizer cannot make prompts of."""
    if data.family != "causal-lm":
        return []
    settings, suites = settings_of(recipe), data.suites
    problems = [
        problem
        for suite in suites.all
        for problem in task_type_of(suite).tokenizer_problems(suite, preprocessor.tokenizer, settings)
    ]
    problems += relearn_problems(suites, settings, preprocessor)
    learned = [item for item in suites.task_items if item.trains == data.family]
    return problems + first_refusal("test", learned, lambda item: preprocessor.encode([item]), looked_at(learned))


def _dtype(model: Any) -> str:
    return str(model.dtype).removeprefix("torch.")


def _family(recipe: TunedModelOptions, form: str | None, suites: Suites) -> Family:
    """As the data say; features of an adapter that was trained as a classifier are those of the classifier's body."""
    family = family_of(form, suites)
    if saved_labels(expanded(recipe.tuned)) is None:
        return family
    return family if family == "causal-lm" else family_for("classifier", modality_of(family))


def _place_problems(recipe: TunedModelOptions) -> list[str]:
    tuned = expanded(recipe.tuned)
    problems = output_problem(recipe.output) or holding_problem(recipe.output, ["run.json"])
    if tuned.is_dir() and not is_adapter(recipe.tuned) and not (tuned / "config.json").exists():
        inner = inner_adapters(tuned)
        cure = f"; give the adapter inside it: {', '.join(map(str, inner[:5]))}" if inner else ""
        problems.append(
            f"tuned: {recipe.tuned} holds neither an adapter (adapter_config.json) nor a model (config.json){cure}."
        )
    elif is_path(recipe.tuned) and not tuned.exists():
        problems.append(f"tuned: there is no folder {recipe.tuned}.")
    return problems


def _labels_by_files(recipe: TunedModelOptions) -> list[str]:
    """The classes in the order of the tuned model's outputs, as far as its files or the recipe tell."""
    tuned = expanded(recipe.tuned)
    return saved_labels(tuned) or classes_beside(tuned) or list(recipe.labels)


def _labels(recipe: TunedModelOptions, data: TunedData) -> list[str]:
    """The classes: those that the tuned model's files or the recipe name, else the training data's, else the tests'."""
    classified = [suite for suite in data.suites.all if task_type_of(suite).needs == "classifier"]
    measured = [item for suite in classified for item in suite.items]
    return _labels_by_files(recipe) or labels_of(data.train) or labels_of(measured)


def _load_tuned(spec: ModelSpec) -> Any:
    """Load a whole tuned model.

    Raises:
        InputError: it cannot be loaded, holds what no weight can be, or is to judge classes that it has no head for.
    """
    model, head_is_new = spec.load()
    if fault := next(
        (f"{name} {why}" for name, value in model.named_parameters() if (why := value_fault(value))), None
    ):
        raise InputError(f"tuned: {spec.source}: {fault}.")
    if head_is_new:
        raise InputError(
            f"tuned: {spec.source} has no trained head for the classes {', '.join(spec.labels[:8])}; name them in the "
            "data as in its config.json (id2label)."
        )
    return model
