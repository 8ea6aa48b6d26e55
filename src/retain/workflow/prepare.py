"""Everything that can be known before training: data read, model looked at, every problem found and told at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.data.examples import Choice, Example
from retain.data.overlap import content_hash, find_overlaps
from retain.data.sources import read_choices, read_examples, read_text, suite_name
from retain.data.tokens import encode_choice, encode_example
from retain.errors import InputError, RetainError
from retain.evaluation.suites import Settings, Suites
from retain.methods import choose
from retain.recipe import Measuring, Recipe
from retain.statistics import Statistics, load
from retain.training.loop import training_arguments
from retain.workflow.models import empty_model, load_tokenizer
from retain.workflow.passages import Passages, passage_hashes, read_calibration


@dataclass(frozen=True)
class Data:
    """The data of a recipe, read and free of overlaps."""

    train: Sequence[Example]
    suites: Suites
    passages: Mapping[str, Passages] = field(default_factory=dict)
    statistics: Mapping[str, str] = field(default_factory=dict)

    def hashes(self) -> dict[str, str]:
        """A hash of the content of each part, for the provenance; of statistics that are given, that of their data."""
        train = {"train": content_hash(item.model_dump_json() for item in self.train)}
        given = {f"calibrate:{name}": value for name, value in self.statistics.items()}
        return train | passage_hashes(self.passages) | given | suite_hashes(self.suites)


def suite_hashes(suites: Suites) -> dict[str, str]:
    """A hash of the content of each part that is measured; parts that are missing are left out."""
    parts = {"test": suites.task, **{f"keep:{name}": items for name, items in suites.keep.items()}}
    hashes = {name: content_hash(item.model_dump_json() for item in items) for name, items in parts.items() if items}
    return hashes | ({"reference": content_hash([suites.reference])} if suites.reference else {})


def settings_of(recipe: Measuring) -> Settings:
    """How a recipe wants its items put to the models."""
    return Settings(
        keep_format=recipe.keep_format,
        keep_score=recipe.keep_score,
        generate=recipe.generate,
        max_new_tokens=recipe.max_new_tokens,
        max_length=recipe.max_length,
        reference_tokens=recipe.reference_tokens,
        batch_size=recipe.evaluation_batch_size,
    )


def read_data(recipe: Recipe, problems: list[str]) -> Data:
    """Read all data of a recipe, adding each problem found, overlaps included."""
    train = read_examples(recipe.train, problems)
    suites = read_suites(recipe, problems)
    problems += find_overlaps(train, suites.task, suites.keep, suites.reference)
    needed = {part for run in recipe.runs() for part in choose.calibration(run.method_name)}
    if recipe.statistics is None:
        return Data(train, suites, read_calibration(recipe, sorted(needed), train, suites, problems))
    try:
        given = given_statistics(recipe.statistics, sorted(needed))
    except InputError as error:
        problems += error.problems
        given = {}
    return Data(train, suites, statistics={name: part.manifest.data_hash for name, part in given.items()})


def given_statistics(folder: str, needed: Sequence[str]) -> dict[str, Statistics]:
    """Statistics that `retain calibrate` wrote.

    Raises:
        InputError: the folder does not hold those that are needed.
    """
    return {name: load(Path(folder).expanduser() / name) for name in needed}


APART = "apart.json"
"""Beside statistics: hashes of what is measured that was kept out of them."""


def not_apart(folder: str, suites: Suites) -> list[str]:
    """A note for each suite from which given statistics were not kept apart, as far as their folder tells."""
    path = Path(folder).expanduser() / APART
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [
        f"the statistics in {folder} were not kept apart from {name}: what is measured may have been calibrated on."
        for name, value in suite_hashes(suites).items()
        if known.get(name) != value
    ]


def read_suites(recipe: Measuring, problems: list[str]) -> Suites:
    """Read what is measured; each part may be missing. Two suites of one name are a problem."""
    test, keep, reference = recipe.test, recipe.keep, recipe.reference
    suites: dict[str, Sequence[Choice]] = {}
    for source in keep:
        name = suite_name(source)
        if name in suites:
            problems.append(f"{source}: there is another keep suite named {name!r}; rename one of the files.")
        suites[name] = read_choices(source, problems)
    return Suites(
        task_name=suite_name(test) if test else "task",
        task=read_examples(test, problems)[: recipe.test_items] if test else (),
        keep=suites,
        reference=read_text(reference, problems) if reference else "",
    )


def is_calibrated(run: Recipe) -> bool:
    """Whether the method of a run starts from statistics of texts."""
    return bool(choose.calibration(run.method_name))


def adapter_fields(run: Recipe) -> dict[str, Any]:
    """The fields of a run's method, the recipe's rank and β among them where the method has them."""
    return choose.with_shared(run.method_name, run.method_fields, run.rank, run.beta, run.seed)


def prepare(recipe: Recipe) -> Data:
    """Check a recipe whole and read its data; for a comparison, every run of it.

    Raises:
        InputError: with all problems of recipe, data and model.
    """
    problems: list[str] = []
    data = read_data(recipe, problems)
    runs = recipe.runs()
    for run in {_key(run): run for run in runs}.values():
        if run.method_name != "full":
            problems += choose.validate(run.method_name, adapter_fields(run))
    problems += _raised(training_arguments, runs[0], Path(recipe.output))
    problems += output_problem(Path(recipe.output))
    if len(data.suites.task) == 1:
        problems.append(f"{recipe.test}: one held-out item has no interval; give at least two.")
    if not problems:  # targets and templates can only be judged once methods and data can be read
        problems += _model_problems(recipe, runs, data)
    else:
        problems += _raised(empty_model, recipe.model, trust_remote_code=recipe.trust_remote_code)
    if problems:
        raise InputError(problems)
    return data


def truncations(recipe: Recipe, data: Data) -> list[str]:
    """What will be cut off because it is longer than `max_length`, one sentence each."""
    tokenizer = load_tokenizer(recipe.model, trust_remote_code=recipe.trust_remote_code)
    found = []
    for name, examples in (("train", data.train), ("test", data.suites.task)):
        cut = sum(encode_example(tokenizer, example, recipe.max_length).truncated for example in examples)
        if cut:
            found.append(
                f"{name}: {cut} of {len(examples)} are longer than {recipe.max_length} tokens and will be cut."
            )
    return found


def _model_problems(recipe: Recipe, runs: Sequence[Recipe], data: Data) -> list[str]:
    try:
        tokenizer = load_tokenizer(recipe.model, trust_remote_code=recipe.trust_remote_code)
        problems: list[str] = []
        for run in {_key(run): run for run in runs}.values():
            model = empty_model(recipe.model, trust_remote_code=recipe.trust_remote_code)
            if run.method_name != "full":
                problems += _raised(choose.check, model, run.method_name, adapter_fields(run))
    except InputError as error:
        return list(error.problems)
    longest = 0

    def encode(item: Example) -> None:
        nonlocal longest
        longest = max(longest, len(encode_example(tokenizer, item, recipe.max_length).ids))

    problems += _first_refusal("train", data.train, encode)
    problems += _first_refusal("test", data.suites.task, encode)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and longest > positions:
        problems.append(
            f"max_length: the longest example has {longest} tokens, but this model only {positions} positions; "
            f"say --max-length {positions}."
        )
    chat = recipe.keep_format == "chat"
    for name, items in data.suites.keep.items():
        problems += _first_refusal(
            name, items, lambda item: encode_choice(tokenizer, item, chat=chat, max_length=recipe.max_length)
        )
    return list(dict.fromkeys(problems))


def _first_refusal(name: str, items: Sequence[Any], encode: Callable[[Any], Any]) -> list[str]:
    for number, item in enumerate(items, start=1):
        found = _raised(encode, item)
        if found:
            return [f"{name}, item {number}: {problem}" for problem in found]
    return []


def output_problem(output: Path) -> list[str]:
    """What speaks against writing into a folder: a file that stands in its place."""
    folder = next(parent for parent in (output, *output.absolute().parents) if parent.exists())
    if not folder.is_dir():
        return [f"output: {folder} is a file, not a folder."]
    return []


def _raised(function: Any, *arguments: Any, **options: Any) -> list[str]:
    try:
        function(*arguments, **options)
    except InputError as error:
        return list(error.problems)
    except RetainError as error:
        return [str(error)]
    return []


def _key(run: Recipe) -> str:
    return json.dumps([run.method, run.rank, run.beta], sort_keys=True, default=str)
