"""The report without our training: measure any pair of base and tuned model, from Python or by paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from retain.data.readers import PictureReader, Reader, TextReader, broken_pictures, labels_of
from retain.data.rows import AnyItem, Rows, parse_rows, read_rows
from retain.errors import InputError
from retain.evaluation.answers import collect_answers
from retain.evaluation.kinds.table import kind_of_form
from retain.evaluation.pair import Pair
from retain.evaluation.reading import class_names
from retain.evaluation.runner import Measured, measure_pair
from retain.evaluation.suite_files import as_suite
from retain.evaluation.suites import Part, Settings, Suite, Suites
from retain.hf.describe import adapter_config, adapter_kind, changed_size, model_hash, parameter_counts
from retain.hf.head import restore_head, saved_labels
from retain.hf.load import is_adapter, load_adapter
from retain.hf.sides import mutates_base, root_of
from retain.recipe import MeasureRecipe
from retain.results import MethodRecord, Parameters, Result
from retain.training.probe import fit_head
from retain.workflow.families import (
    family_of,
    family_of_model,
    foreign_classes,
    harness_problems,
    judge_problems,
    wrong_kinds,
)
from retain.workflow.folder import output_problem
from retain.workflow.foreign import with_foreign
from retain.workflow.models import Family, brings_head, classes_beside, load_reader, load_with_news
from retain.workflow.prepare import read_reference, read_suites, settings_of, suite_hashes, told_apart
from retain.workflow.progress import make_console, showing_progress
from retain.workflow.record import provenance, write_record

Given = str | Path | Sequence[Mapping[str, Any]]
"""Data by path, suite name or data set id, or as rows in memory."""


def measure(
    base: Any,
    tuned: Any = None,
    *,
    tokenizer: Any = None,
    processor: Any = None,
    test: Given | None = None,
    keep: Given | Sequence[str | Path] | Mapping[str, Given] | None = None,
    reference: str | Path | Sequence[str | Path] | None = None,
    output: str | Path | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Result:
    """The same record that `retain tune` writes, for models that were tuned in any other way.

    Args:
        base: the untouched base model; or a `PeftModel` alone, whose base is seen by switching its adapter off.
        tuned: the tuned model: a `PeftModel` or a whole model. Not needed when `base` is a `PeftModel`.
        tokenizer: the base's tokenizer, for models that read text.
        processor: the base's image processor, for models that read pictures.
        test: held-out task data: path, suite, data set id, or rows as `retain tune` takes them.
        keep: what must stay: suites by name or file, data, or `{suite name: data or rows}`.
        reference: path (or data set id) of text on which drift is measured; several are told apart as genres.
        output: folder for `result.json`, `items.jsonl`, report and plot; None writes nothing.
        show_progress: whether bars are shown on a terminal.
        settings: fields of `retain.evaluation.suites.Settings`, as `generate=32` or `reference_tokens=4096`.

    Returns:
        The record. The models come back as they were: mode, adapter state, weights.

    Raises:
        InputError: with every problem of the data; or the base cannot be seen in the model given.
        RetainError: the two models cannot be asked alike (another dtype, attention, device).
    """
    problems: list[str] = []
    try:
        chosen = replace(Settings(), **settings)
    except TypeError as error:
        raise InputError(f"settings: {error}; known are {', '.join(Settings.__dataclass_fields__)}.") from error
    reader = _reader(tokenizer, processor, chosen)
    suites = _suites(test, keep, reference, problems)
    family = family_of_model(base, reader)
    problems += wrong_kinds(family, suites)
    problems += foreign_classes(class_names(root_of(base)), suites) if family.endswith("classifier") else []
    problems += broken_pictures(suites.measured_items)
    problems += judge_problems(chosen.judge)
    if problems:
        raise InputError(problems)
    if not (suites.all or suites.reference):
        raise InputError("nothing to measure: give at least one of test, keep and reference.")
    pair = Pair.of(base, tuned)
    console = make_console()
    console.quiet = not show_progress
    with showing_progress(console) as progress:
        measured = measure_pair(pair, reader, suites, chosen, progress)
    name = str(getattr(base.config, "name_or_path", "") or type(base).__name__)
    result = _result(name, pair, suites, measured, model_hash(base))
    return result if output is None else write_record(Path(output), result, measured.items)


def _reader(tokenizer: Any, processor: Any, settings: Settings) -> Reader:
    if (tokenizer is None) == (processor is None):
        raise InputError("give the base's tokenizer (models that read text) or its processor (pictures), one of them.")
    return PictureReader(processor) if tokenizer is None else TextReader(tokenizer, settings.max_length)


def measure_recipe(recipe: MeasureRecipe, progress: Progress) -> Result:
    """Measure by paths or hub ids, as `retain measure` does; see `measure`.

    Raises:
        InputError: with every problem of data and models.
    """
    problems: list[str] = []
    suites = read_suites(recipe, problems)
    train = read_rows(recipe.train, problems) if recipe.train else Rows("", [])
    family = _family(recipe, train.form or None, suites)
    problems += wrong_kinds(family, suites)
    problems += judge_problems(recipe.judge)
    problems += harness_problems(recipe.lm_eval, family, suites)
    problems += _place_problems(recipe)
    problems += broken_pictures([*train.items, *suites.measured_items])
    if problems:
        raise InputError(problems)
    reader = load_reader(recipe.model, family, recipe.max_length, trust_remote_code=recipe.trust_remote_code)
    labels = _labels(recipe, train.items, suites)
    notes: list[str] = []
    base = _base(recipe, family, labels, reader, train.items, notes, progress)
    if foreign := foreign_classes(class_names(base) if family.endswith("classifier") else [], suites):
        raise InputError(foreign)
    base_hash = model_hash(base)
    settings = settings_of(recipe)
    answers = collect_answers(base, reader, suites.all, settings, progress, "the base answers")
    if is_adapter(recipe.tuned):
        tuned = load_adapter(base, recipe.tuned)
        separate = _base(recipe, family, labels, reader, train.items, [], progress) if mutates_base(tuned) else None
        pair = Pair(tuned, separate)
    else:
        pair = Pair(_tuned(recipe, family, labels), base)
    measured = measure_pair(pair, reader, suites, settings, progress, answers)
    measured = with_foreign(measured, pair, reader, recipe, progress)
    measured = replace(measured, notes=(*measured.notes, *notes))
    result = _result(recipe.model, pair, suites, measured, base_hash)
    return write_record(Path(recipe.output), result, measured.items)


def _family(recipe: MeasureRecipe, form: str | None, suites: Suites) -> Family:
    """As the data say; features of an adapter that was trained as a classifier are those of the classifier's body."""
    family = family_of(form, suites)
    if saved_labels(Path(recipe.tuned).expanduser()) is None:
        return family
    classifiers: dict[Family, Family] = {"text-features": "text-classifier", "image-features": "image-classifier"}
    return classifiers.get(family, family)


def _place_problems(recipe: MeasureRecipe) -> list[str]:
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


def _told_labels(recipe: MeasureRecipe) -> list[str]:
    """The classes in the order of the tuned model's outputs, as far as its files or the recipe tell."""
    tuned = Path(recipe.tuned).expanduser()
    return saved_labels(tuned) or classes_beside(tuned) or list(recipe.labels)


def _labels(recipe: MeasureRecipe, train: Sequence[AnyItem], suites: Suites) -> list[str]:
    """The classes: those that the tuned model's files or the recipe name, else the training data's, else the tests'."""
    asked = [item for suite in suites.all if suite.kind == "labels" for item in suite.items]
    return _told_labels(recipe) or labels_of(train) or labels_of(asked)


def _base(
    recipe: MeasureRecipe,
    family: Family,
    labels: Sequence[str],
    reader: Reader,
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
        fit_head(model, reader, train, labels, recipe.evaluation_batch_size, progress)
    else:
        notes.append(
            "The base has no head for these classes, so it guesses: what its features can tell is not measured. Give "
            "labelled data as --train, and a head is fitted on them first."
        )
    return model


def _tuned(recipe: MeasureRecipe, family: Family, labels: Sequence[str]) -> Any:
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


def _result(name: str, pair: Pair, suites: Suites, measured: Measured, base_hash: str) -> Result:
    changed, changed_bytes = changed_size(pair.tuned_model)
    _, total = parameter_counts(pair.tuned_model)
    return Result(
        model=name,
        method=MethodRecord(name=adapter_kind(pair.tuned_model) or "full", config=adapter_config(pair.tuned_model)),
        seed=None,
        parameters=Parameters(trainable=changed, total=total, adapter_bytes=changed_bytes),
        **measured.fields(),
        provenance=provenance(suite_hashes(suites), base_hash, measured.notes),
    )


def _suites(
    test: Given | None,
    keep: Given | Sequence[str | Path] | Mapping[str, Given] | None,
    reference: str | Path | Sequence[str | Path] | None,
    problems: list[str],
) -> Suites:
    found = [] if test is None else [_suite("task", test, "task", problems)]
    found += [_suite(name, data, "keep", problems) for name, data in _named(keep)]
    texts = [reference] if isinstance(reference, (str, Path)) else list(reference or ())
    return Suites(told_apart(found, problems), read_reference([str(source) for source in texts], problems))


def _named(keep: Given | Sequence[str | Path] | Mapping[str, Given] | None) -> list[tuple[str | None, Given]]:
    if keep is None:
        return []
    if isinstance(keep, Mapping):
        return list(keep.items())
    if isinstance(keep, (str, Path)):
        return [(None, keep)]
    paths = [one for one in keep if isinstance(one, (str, Path))]
    return [(None, path) for path in paths] if paths else [("keep", keep)]  # type: ignore[list-item]  # rows then


def _suite(name: str | None, data: Given, part: Part, problems: list[str]) -> Suite:
    if isinstance(data, (str, Path)):
        suite = as_suite(str(data), part, problems)
        return suite if name is None or part == "task" else replace(suite, name=name)
    label = name or part
    if not data:
        problems.append(f"{label}: holds no items.")
    numbered = [(f"{label}, row {number}", dict(row)) for number, row in enumerate(data)]
    rows = parse_rows(label, numbered, problems) if data else Rows("completion", [])
    return Suite(label, kind_of_form(rows.form), part, rows.items)
