"""A recipe checked before anything is trained: data read, model examined, all problems reported at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from retain.data.family import modality_of
from retain.data.images import decoded_share
from retain.data.lengths import beyond_training, lowered
from retain.data.preprocess import Preprocessor
from retain.data.row_limit import EVERY_ROW, RowLimit
from retain.data.sample import looked_at, looked_at_words
from retain.errors import InputError, RetainError, sentence
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import first_refusal
from retain.hf.adapters.accounting import name_problems, pattern_problems
from retain.hf.models.coverage import coverage
from retain.hf.models.positions import UNLIMITED, Positions, positions_of, virtual_tokens
from retain.hf.models.precision import precision_note
from retain.hf.models.quantization import training_problem
from retain.jobs.inputs.data import Data
from retain.jobs.inputs.evidence_told import no_step_problems
from retain.jobs.inputs.ewc_told import ewc_told
from retain.jobs.inputs.lengths import stated_problems, writing_problems
from retain.jobs.inputs.method_checks import field_problems, rank_told, unmatched_names, unread_fields, widths_told
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.quantised_methods import method_problem, offload_problem
from retain.jobs.inputs.read import read_data, settings_of
from retain.jobs.inputs.relearn_checks import relearn_problems
from retain.jobs.inputs.teachers import teacher_problems
from retain.jobs.launch.plan import Plan, launch_problems
from retain.jobs.output_place import output_problem
from retain.jobs.workers.needs import worker_problems
from retain.methods import lookup
from retain.recipe import Recipe
from retain.records.paths import expanded
from retain.train.arguments import try_settings


class Prepared(NamedTuple):
    """A recipe that was checked.

    Attributes:
        data: of the recipe.
        preprocessor: makes the inputs of its model.
        notes: what its methods leave as it is.
        structure: the model without its weights; None where it was not looked at.
    """

    data: Data
    preprocessor: Preprocessor
    notes: tuple[str, ...] = ()
    structure: Any = None


def adapter_fields(run: Recipe) -> dict[str, Any]:
    """The fields of a run's method, the recipe's rank and β among them where the method has them."""
    return lookup.with_shared(run.method_name, run.method_fields, run.rank, run.beta, run.seed)


def prepare(recipe: Recipe, *, tried: bool = False, limit: RowLimit = EVERY_ROW) -> Prepared:
    """Check a recipe and read its data; for a comparison, check every run of it.

    Args:
        recipe: of a run or a comparison.
        tried: its Trainer's settings, its processes and its methods beside such a base were tried already, by the job
            whose worker this is.
        limit: how many training rows are read. What is trained needs all.

    Raises:
        InputError: with all problems of recipe, data and model.
    """
    problems: list[str] = []
    data = read_data(recipe, problems, limit)
    runs = recipe.variants()
    for run in runs:
        problems += _method_problems(run)
    if recipe.statistics is not None and not expanded(recipe.statistics).is_dir():
        problems.append(f"statistics: there is no folder {recipe.statistics}; make it with retain calibrate.")
    refused = [] if tried else _once(problem for run in runs for problem in launch_problems(run))
    problems += [] if tried else [*_once(one for run in runs for one in _raised(try_settings, run)), *refused]
    drops_last = any(run.training.get("dataloader_drop_last") is True for run in runs)
    processes = 1 if refused or not recipe.is_launched else Plan.of(recipe).processes
    problems += no_step_problems(data.rows, recipe.batch_size, drops_last=drops_last, processes=processes)
    problems += output_problem(recipe.output)
    problems += worker_problems(recipe)
    if len(data.suites.task_items) == 1:
        problems.append(f"{recipe.test}: one held-out item has no interval; give at least two.")
    spec = ModelSpec.of(recipe, data.family, data.labels)
    problems += _raised(_check_loading, spec, [] if tried else runs)
    if problems:  # targets and templates can only be judged once methods and data can be read
        known = bool(data.train)  # else the family is a guess, and no reason against the model
        raise InputError([*problems, *(_raised(spec.empty) if known else [])])
    structure = spec.empty()
    found, positions, notes = _target_problems(structure, modality_of(spec.family) == "text", runs)
    preprocessor = spec.preprocessor(positions)
    found += stated_problems(recipe, positions)
    if data.family == "causal-lm":
        found += _encoding_problems(preprocessor, data)
        found += _template_problems(recipe, preprocessor, data)
        found += relearn_problems(data.everything, settings_of(recipe), preprocessor)
        found += [] if found else writing_problems(preprocessor, data.everything.all, settings_of(recipe))
    teaching = next((run for run in runs if run.kl_weight), recipe)
    found += teacher_problems(teaching, data.family, data.labels, preprocessor)
    if found:
        raise InputError(_once(found))
    precision = precision_note(structure, spec.dtype, spec.loading.device)
    return Prepared(data, preprocessor, (*notes, *precision), structure)


def _check_loading(spec: ModelSpec, runs: Sequence[Recipe]) -> None:
    """Check that the model can be quantised and placed as asked, and that the method of each run works beside it then.

    Raises:
        InputError: with every problem.
    """
    if problems := spec.loading_problems():
        raise InputError(problems)
    known = [run for run in runs if run.method_name == "full" or not _method_problems(run)]
    if spec.loading.offloads:
        problems += [found for run in known if (found := offload_problem(run.method_name, _fields(run)))]
    quantization = spec.quantization_in_use()
    if quantization is not None:
        problems += _quantised_problems(spec, known, quantization)
    if problems:
        raise InputError(problems)


def _quantised_problems(spec: ModelSpec, runs: Sequence[Recipe], quantization: Any) -> list[str]:
    """A sentence for each method that cannot be trained beside a base that is quantised so."""
    if problem := training_problem(quantization, quantised_before=spec.own_quantization() is not None):
        return [problem]
    found = (method_problem(run.method_name, _fields(run), quantization, scaled=bool(run.budget)) for run in runs)
    return [problem for problem in found if problem]


def _fields(run: Recipe) -> dict[str, Any]:
    return {} if run.method_name == "full" else adapter_fields(run)


def _method_problems(run: Recipe) -> list[str]:
    """The problems of a run's method that can be found without a model."""
    if run.method_name == "full":
        return []
    fields = adapter_fields(run)
    if run.method_name in lookup.known_methods() and (problems := field_problems(run.method_name, fields)):
        return problems
    return lookup.validate(run.method_name, fields)


def _target_problems(
    structure: Any, reads_text: bool, runs: Sequence[Recipe]
) -> tuple[list[str], Positions, tuple[str, ...]]:
    """The methods that cannot be put on the model, one sentence each; the positions left; what is not adapted."""
    problems, positions = [], UNLIMITED
    notes: list[str] = []
    for run in runs:
        model = copy.deepcopy(structure)  # a method changes it
        fields = {} if run.method_name == "full" else adapter_fields(run)
        if reads_text:
            positions = positions.shared_with(positions_of(model).without(virtual_tokens(fields)))
        if run.method_name != "full":
            unmatched = unmatched_names(model, run.method_name, fields)
            problems += unmatched or _raised(_put_on, model, run, notes)
        else:
            notes += [*coverage(model), *ewc_told(run, model)]
    return problems, positions, tuple(dict.fromkeys(notes))


def _put_on(model: Any, run: Recipe, notes: list[str]) -> None:
    """Put a run's adapters on a model without weights, and note what they do not cover.

    Raises:
        InputError: the method cannot be put there, or a field names layers that it does not change.
    """
    adapted: Any = lookup.check(model, run.method_name, adapter_fields(run))
    if unknown := [*name_problems(adapted), *pattern_problems(adapted)]:
        raise InputError([sentence(f"method {run.method_name}: {problem}") for problem in unknown])
    notes += [*widths_told(adapted, run.method_name), *coverage(adapted), *ewc_told(run, adapted)]


def _encoding_problems(preprocessor: Preprocessor, data: Data) -> list[str]:
    """A sentence for each part with an example that cannot be encoded."""

    def encode(item: Any) -> None:
        preprocessor.encode([item])

    tested = [item for item in data.suites.task_items if item.trains == data.family]
    numbers = None if data.sample is None else data.sample.numbers
    problems = first_refusal("train", data.train, encode, data.looked_at, numbers)
    return problems + first_refusal("test", tested, encode, looked_at(tested))


def _template_problems(recipe: Recipe, preprocessor: Preprocessor, data: Data) -> list[str]:
    """A sentence for each retention suite whose items the tokenizer refuses."""
    settings = settings_of(recipe)
    return [
        problem
        for suite in (*data.everything.of("keep"), *data.everything.of("gone"))
        for problem in task_type_of(suite).tokenizer_problems(suite, preprocessor.tokenizer, settings)
    ]


def _once(problems: Iterable[str]) -> list[str]:
    """The problems, each once."""
    return list(dict.fromkeys(problems))


def _raised(function: Any, *arguments: Any) -> list[str]:
    """The problems that a call raises; none where it succeeds."""
    try:
        function(*arguments)
    except InputError as error:
        return list(error.problems)
    except RetainError as error:
        return [str(error)]
    return []


def fields_told(recipe: Recipe, prepared: Prepared) -> list[str]:
    """Sentences on fields that no run reads, and on ranks that no layer can use."""
    runs = {run.method_key: run for run in recipe.runs() if run.method_name != "full"}.values()
    model = prepared.structure
    told = [sentence for run in runs for sentence in rank_told(model, run.method_name, adapter_fields(run))]
    return [*unread_fields(recipe), *dict.fromkeys(told)]


def truncations(recipe: Recipe, prepared: Prepared) -> list[str]:
    """Notes on the longest sequence, and on each part of the data in which some items are longer and will be cut."""
    data, preprocessor = prepared.data, prepared.preprocessor
    if not preprocessor.reads_text:
        return decoded_share([*data.train, *data.everything.measured_items])
    settings, looked = settings_of(recipe), data.looked_at
    parts = [("train", data.rows, len(looked), preprocessor.cuts([data.train[index] for index in looked]))]
    for suite in data.everything.all:
        name, looked = "test" if suite.part == "task" else suite.name, looked_at(suite.items)
        some = replace(suite, items=[suite.items[index] for index in looked])
        parts.append((name, len(suite.items), len(looked), task_type_of(suite).cuts(some, preprocessor, settings)))
    return [
        *lowered(recipe.max_length, preprocessor.positions),
        *beyond_training(max(cuts.longest for *_, cuts in parts), preprocessor.positions),
        *(sentence for name, total, seen, _ in parts for sentence in looked_at_words(name, seen, total)),
        *(sentence for name, _, seen, cuts in parts for sentence in cuts.sentences(seen, before=name)),
    ]
