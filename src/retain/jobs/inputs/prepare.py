"""Everything that can be known before training: data read, model looked at, every problem found and told at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from retain.budget.split import limit_problems, split
from retain.data.contamination import content_hash, find_overlaps, items_hash
from retain.data.examples import Example
from retain.data.items import LabelledImage, LabelledText
from retain.data.preprocess import TextPreprocessor, broken_images, labels_of
from retain.data.rows import AnyItem, evenly, read_rows
from retain.data.sources import read_text, suite_name
from retain.data.tokens import encode_choice, encode_example
from retain.errors import InputError, RetainError
from retain.evaluate.suites.files import as_suite
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.jobs.inputs.calibration_texts import Passages, given_statistics, passage_hashes, read_calibration
from retain.jobs.inputs.families import family_of, judge_problems, learning_problems
from retain.jobs.inputs.models import Family, empty_model, load_preprocessor
from retain.jobs.run_folder import output_problem
from retain.methods import lookup as choose
from retain.recipe import KL, MeasurementOptions, Recipe
from retain.train.loop import training_arguments


@dataclass(frozen=True)
class Data:
    """The data of a recipe, read and free of overlaps.

    Attributes:
        train: what is learned.
        suites: what is measured and reported.
        family: what the model is loaded as.
        passages: texts to calibrate on, and to keep while training, by "learn" and "keep".
        statistics: hashes of the data of statistics that are given.
        control: the part of suites and held-out text that certifies a budget; none of it is in `suites`.
        whole: both together, as they were read; None where they were not parted.
    """

    train: Sequence[AnyItem]
    suites: Suites
    family: Family = "causal-lm"
    passages: Mapping[str, Passages] = field(default_factory=dict)
    statistics: Mapping[str, str] = field(default_factory=dict)
    control: Suites = field(default_factory=Suites)
    whole: Suites | None = None

    @property
    def labels(self) -> list[str]:
        """The classes to learn, for a classifier."""
        return labels_of(self.train)

    def hashes(self) -> dict[str, str]:
        """A hash of the content of each part, for the provenance; of statistics that are given, that of their data."""
        train = {"train": items_hash(self.train)}
        given = {f"calibrate:{name}": value for name, value in self.statistics.items()}
        control = {f"control:{name}": value for name, value in suite_hashes(self.control).items()}
        return train | passage_hashes(self.passages) | given | suite_hashes(self.suites) | control

    @property
    def everything(self) -> Suites:
        """What is measured and what certifies: all that no text to calibrate on may hold."""
        return self.suites if self.whole is None else self.whole


def suite_hash(suite: Suite) -> str:
    """A hash of all that a suite measures by: its kind, what the kind was told, items and bank."""
    options = json.dumps(dict(suite.options), sort_keys=True, default=str)
    return content_hash([suite.task_type, options, items_hash(suite.items), items_hash(suite.bank)])


def suite_hashes(suites: Suites, of: Callable[[Suite], str] = suite_hash) -> dict[str, str]:
    """A hash of each part that is measured; parts that are missing are left out."""
    hashes = {"test" if suite.part == "task" else f"keep:{suite.name}": of(suite) for suite in suites.all}
    return hashes | ({"held_out_text": content_hash([suites.held_out_text_joined])} if suites.held_out_text else {})


def apart_hashes(suites: Suites) -> dict[str, str]:
    """A hash of the items of each part alone, however they are put: what calibration data are kept apart from."""
    return suite_hashes(suites, lambda suite: items_hash([*suite.items, *suite.bank]))


def settings_of(recipe: MeasurementOptions) -> Settings:
    """How a recipe wants its items put to the models."""
    return Settings(
        keep_format=recipe.keep_format,
        keep_score=recipe.keep_score,
        generate=recipe.generate,
        max_new_tokens=recipe.max_new_tokens,
        max_length=recipe.max_length,
        held_out_tokens=recipe.held_out_tokens,
        batch_size=recipe.evaluation_batch_size,
        margin=recipe.margin / 100,
        margin_nats=recipe.margin_nats,
        judge=recipe.judge,
        store_answers=recipe.store_answers,
        drift=recipe.drift,
    )


def read_data(recipe: Recipe, problems: list[str]) -> Data:
    """Read all data of a recipe, adding each problem found, overlaps included."""
    train = read_rows(recipe.train, problems)
    suites = read_suites(recipe, problems)
    family = family_of(train.form, suites)
    problems += learning_problems(train, family, suites)
    problems += broken_images([*train.items, *suites.measured_items])
    problems += judge_problems(recipe.judge)
    problems += find_overlaps(train.items, suites.task_items, suites.keep_items, suites.held_out_text_joined)
    asked = {part for run in recipe.runs() for part in choose.calibration(run.method_name)}
    problems += regularisation_problems(recipe, family, suites)
    if recipe.statistics is not None and recipe.needs_keep_text:
        problems.append(
            "statistics: KL penalty, replay and watch need the text to keep itself; leave --statistics out."
        )
    needed = sorted(asked | ({"keep"} if recipe.needs_keep_text else set()))
    parts = split(suites, recipe.budget, recipe.control_share)
    if family != "causal-lm" and needed and recipe.statistics is None and recipe.writes_itself and "keep" in needed:
        problems.append(
            "calibrate_keep: only a language model can write what is to be kept itself; give data of the shape of the "
            "training data (their labels are not used)."
        )
        needed = [name for name in needed if name != "keep"]
    if recipe.statistics is None:
        passages = read_calibration(recipe, needed, train.items, suites, problems)
        return Data(train.items, parts.evaluation, family, passages, control=parts.control, whole=suites)
    try:
        given = given_statistics(recipe.statistics, needed)
    except InputError as error:
        problems += error.problems
        given = {}
    hashes = {name: part.manifest.data_hash for name, part in given.items()}
    return Data(train.items, parts.evaluation, family, statistics=hashes, control=parts.control, whole=suites)


def regularisation_problems(recipe: Recipe, family: Family, suites: Suites) -> list[str]:
    """What speaks against the budget and the means of a recipe, one sentence each."""
    problems = limit_problems(suites, recipe.budget, recipe.confidence, recipe.control_share)
    if recipe.replay and family != "causal-lm":
        problems.append(
            "replay: a classifier's head has no answer to text or images of other kinds; use --kl-weight, which keeps "
            "what the base makes of them."
        )
    if family.endswith("classifier") and KL in recipe.budget:
        problems.append(
            f"budget: {KL} is measured on held-out text, which a classifier does not predict; limit suites."
        )
    return problems


APART = "apart.json"
"""Beside statistics: hashes of what is measured that was kept out of them."""


def not_apart(folder: str, suites: Suites) -> list[str]:
    """A note for each suite from which given statistics were not kept apart, as far as their folder tells."""
    path = Path(folder).expanduser() / APART
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [
        f"the statistics in {folder} were not kept apart from {name}: what is measured may have been calibrated on."
        for name, value in apart_hashes(suites).items()
        if known.get(name) != value
    ]


def read_suites(recipe: MeasurementOptions, problems: list[str]) -> Suites:
    """Read what is measured; each part may be missing. Of completions the first are tested, of classes evenly many."""
    found: list[Suite] = []
    if recipe.test:
        suite = as_suite(recipe.test, "task", problems)
        classed = isinstance(next(iter(suite.items), None), (LabelledText, LabelledImage))
        few = evenly(suite.items, recipe.test_items) if classed else suite.items[: recipe.test_items]
        found.append(replace(suite, items=few))
    for source in recipe.keep:
        suite = as_suite(source, "keep", problems)
        found.append(replace(suite, items=evenly(suite.items, recipe.keep_items)))
    return Suites(told_apart(found, problems), read_held_out(recipe.held_out_text, problems))


def told_apart(suites: Iterable[Suite], problems: list[str]) -> list[Suite]:
    """Task and retention suites, each name once: a retention suite named as the task gets another, two of one name are told."""
    found: dict[str, Suite] = {}
    for suite in sorted(suites, key=lambda one: one.part == "keep"):
        taken = suite.part == "keep" and suite.name in found and found[suite.name].part == "task"
        name = f"{suite.name} (kept)" if taken else suite.name
        if name in found:
            problems.append(f"keep: there is another retention suite named {suite.name!r}; rename one of them.")
        found[name] = replace(suite, name=name)
    return list(found.values())


def read_held_out(sources: Sequence[str], problems: list[str]) -> dict[str, str]:
    """Held-out texts by domain, which is the file's name without its ending; two of one name are told."""
    found: dict[str, str] = {}
    for source in sources:
        name, text = suite_name(source), read_text(source, problems)
        if name in found:
            problems.append(f"reference: {source}: there is another text named {name!r}; rename one of the files.")
        found |= {name: text} if text else {}
    return found


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
    for run in {run.method_key: run for run in runs}.values():
        if run.method_name != "full":
            problems += choose.validate(run.method_name, adapter_fields(run))
    problems += _raised(training_arguments, runs[0], Path(recipe.output))
    problems += output_problem(Path(recipe.output))
    if len(data.suites.task_items) == 1:
        problems.append(f"{recipe.test}: one held-out item has no interval; give at least two.")
    if not problems:  # targets and templates can only be judged once methods and data can be read
        problems += _model_problems(recipe, runs, data)
    else:
        problems += _raised(
            empty_model,
            recipe.model,
            family=data.family,
            labels=data.labels,
            trust_remote_code=recipe.trust_remote_code,
        )
    if problems:
        raise InputError(problems)
    return data


def truncations(recipe: Recipe, data: Data) -> list[str]:
    """What will be cut off because it is longer than `max_length`, one sentence each."""
    preprocessor = load_preprocessor(
        recipe.model, data.family, recipe.max_length, trust_remote_code=recipe.trust_remote_code
    )
    found = []
    for name, items in (("train", data.train), ("test", data.suites.task_items)):
        cut = _cut(preprocessor, items, recipe.max_length) if isinstance(preprocessor, TextPreprocessor) else 0
        if cut:
            found.append(f"{name}: {cut} of {len(items)} are longer than {recipe.max_length} tokens and will be cut.")
    return found


def _cut(preprocessor: TextPreprocessor, items: Sequence[Any], max_length: int) -> int:
    examples = [item for item in items if isinstance(item, Example)]
    if examples:
        return sum(encode_example(preprocessor.tokenizer, item, max_length).truncated for item in examples)
    return sum(
        length > max_length for length in preprocessor.lengths([i for i in items if isinstance(i, LabelledText)])
    )


def _model_problems(recipe: Recipe, runs: Sequence[Recipe], data: Data) -> list[str]:
    try:
        preprocessor = load_preprocessor(
            recipe.model, data.family, recipe.max_length, trust_remote_code=recipe.trust_remote_code
        )
        problems: list[str] = []
        for run in {run.method_key: run for run in runs}.values():
            model = empty_model(
                recipe.model, family=data.family, labels=data.labels, trust_remote_code=recipe.trust_remote_code
            )
            if run.method_name != "full":
                problems += _raised(choose.check, model, run.method_name, adapter_fields(run))
    except InputError as error:
        return list(error.problems)
    if not isinstance(preprocessor, TextPreprocessor):
        return list(dict.fromkeys(problems))
    if data.family == "causal-lm":
        problems += _text_problems(recipe, preprocessor.tokenizer, model, data)
    else:
        positions = getattr(model.config, "max_position_embeddings", None)
        if positions and recipe.max_length > positions:
            problems.append(f"max_length: this model has only {positions} positions; say --max-length {positions}.")
    return list(dict.fromkeys(problems))


def _text_problems(recipe: Recipe, tokenizer: Any, model: Any, data: Data) -> list[str]:
    longest = 0

    def encode(item: Example) -> None:
        nonlocal longest
        longest = max(longest, len(encode_example(tokenizer, item, recipe.max_length).ids))

    problems = _first_refusal("train", data.train, encode)
    problems += _first_refusal("test", [i for i in data.suites.task_items if isinstance(i, Example)], encode)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and longest > positions:
        problems.append(
            f"max_length: the longest example has {longest} tokens, but this model only {positions} positions; "
            f"say --max-length {positions}."
        )
    for suite in data.everything.of("keep"):
        chat = suite.options.get("format", recipe.keep_format) == "chat"
        if suite.task_type in {"choice", "question"}:
            with_options = [item for item in suite.items if getattr(item, "choices", ())]
            put = partial(encode_choice, tokenizer, chat=chat, max_length=recipe.max_length)
            problems += _first_refusal(suite.name, with_options, put)
        elif suite.task_type == "refusal" and not getattr(tokenizer, "chat_template", None):
            problems.append(f"{suite.name}: requests need a chat template, and this model's tokenizer has none.")
    return problems


def _first_refusal(name: str, items: Sequence[Any], encode: Callable[[Any], Any]) -> list[str]:
    for number, item in enumerate(items, start=1):
        found = _raised(encode, item)
        if found:
            return [f"{name}, item {number}: {problem}" for problem in found]
    return []


def _raised(function: Any, *arguments: Any, **options: Any) -> list[str]:
    try:
        function(*arguments, **options)
    except InputError as error:
        return list(error.problems)
    except RetainError as error:
        return [str(error)]
    return []

