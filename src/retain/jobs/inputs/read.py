"""The data that a recipe names, read from their sources; every problem found on the way is collected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from retain.budget.split import limit_problems, split
from retain.data.augmentation import augmentation_problems
from retain.data.contamination import find_overlaps
from retain.data.copies import with_copies_grouped
from retain.data.family import Family
from retain.data.forms import LEARNED, Rows, evenly, first_or_evenly, read_rows
from retain.data.images import broken_images
from retain.data.passages import read_text
from retain.data.places import name_of_source
from retain.data.row_limit import EVERY_ROW, RowLimit
from retain.errors import InputError
from retain.evaluate.refusal_judges import judge_problems
from retain.evaluate.suites.loading import NAMED, as_suite, is_suite
from retain.evaluate.suites.suite import Part, Settings, Suite, Suites
from retain.jobs.inputs.calibration_texts import given_statistics, read_calibration
from retain.jobs.inputs.data import Data
from retain.jobs.inputs.families import family_of, learning_problems
from retain.jobs.inputs.gone_checks import gone_problems
from retain.jobs.inputs.joint_models import probe_problems
from retain.methods import lookup
from retain.recipe import KL, MeasurementOptions, Recipe
from retain.recipe.marks import flag_name
from retain.records.renamed_columns import with_columns


def settings_of(recipe: MeasurementOptions) -> Settings:
    """The settings by which a recipe measures."""
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
        smallest_gain=recipe.smallest_gain / 100,
        smallest_gain_nats=recipe.smallest_gain_nats,
        judge=recipe.judge,
        store_answers=recipe.store_answers,
        drift=recipe.drift,
        gone_margin=getattr(recipe, "gone_margin", 5.0) / 100,
        relearn=getattr(recipe, "relearn", 0),
    )


def read_data(recipe: Recipe, problems: list[str], limit: RowLimit = EVERY_ROW) -> Data:
    """Read all data of a recipe; add each problem found, contamination included.

    Args:
        recipe: names the data.
        problems: receives the sentences, and one on the rows that were left out where there are any.
        limit: how many training rows are read.
    """
    train = read_train(recipe.train, recipe.columns, problems, limit)
    suites = read_suites(recipe, problems)
    family = family_of(train.form, suites)
    problems += learning_problems(train, family, suites)
    problems += broken_images([*train.items, *suites.measured_items])
    problems += judge_problems(recipe.judge)
    problems += find_overlaps(
        train.items, suites.task_items, suites.keep_items, suites.held_out_text_joined, suites.gone_items
    )
    known = family if train.items else None  # of data that could not be read it is a guess
    found = (problem for run in recipe.variants() for problem in regularisation_problems(run, known, suites))
    problems += dict.fromkeys(found)
    parts = split(suites, recipe.budget, recipe.control_share)
    data = Data(train.items, parts.evaluation, family, control=parts.control, everything=suites, notes=train.notes)
    data = _with_calibration(replace(data, sample=train.sample), recipe, problems)
    if problems and train.sample is not None:
        problems.append(train.sample.sentence("train"))
    return data


def read_train(source: str, columns: Mapping[str, str], problems: list[str], limit: RowLimit = EVERY_ROW) -> Rows:
    """Read training data; of a source with several parts the one called train, where none is named."""
    return read_rows(with_columns(source, columns), problems, forms=LEARNED, obvious="train", limit=limit)


def _with_calibration(data: Data, recipe: Recipe, problems: list[str]) -> Data:
    """The data with the texts to calibrate on, or with the hashes of those that given second moments were made of."""
    runs = recipe.variants()
    needed = {part for run in runs for part in lookup.calibration(run.method_name, run.method_fields)}
    keeps = recipe.reads_keep_text
    problems += _gradient_problems(recipe, data)
    if recipe.statistics is not None and keeps:
        problems.append("statistics: the recipe's regularisers read the text to keep itself; leave --statistics out.")
    parts = sorted(needed | ({"keep"} if keeps else set()))
    if recipe.statistics is None:
        if data.family != "causal-lm" and recipe.generates_keep_text and "keep" in parts:
            problems.append(
                "calibrate_keep: only a language model can write what is to be kept itself; give data of the shape of "
                "the training data (their labels are not used)."
            )
            parts.remove("keep")
        texts = read_calibration(recipe, parts, data.train, data.everything, problems)
        return replace(data, texts=texts)
    try:
        given = given_statistics(recipe.statistics, parts)
    except InputError as error:
        problems += error.problems
        return data
    return replace(data, statistics={name: part.manifest.data_hash for name, part in given.items()})


def _gradient_problems(recipe: Recipe, data: Data) -> list[str]:
    """A sentence for each text that a sparse update cannot take a gradient on."""
    runs = [run for run in recipe.runs() if lookup.is_sparse(run.method_name)]
    if not any(lookup.calibration(run.method_name, run.method_fields) for run in runs):
        return []
    problems = []
    if recipe.statistics is not None:
        problems.append("statistics: sparse chooses by gradients, not by second moments; leave --statistics out.")
    if recipe.calibrate_learn is not None and data.family != "causal-lm":
        problems.append(
            "calibrate_learn: sparse takes the gradient of a classifier's loss, which needs labels; leave it out, and "
            "the training data are read."
        )
    return problems


def regularisation_problems(recipe: Recipe, family: Family | None, suites: Suites) -> list[str]:
    """A sentence for each reason against the budget or the regularisation of a recipe.

    Args:
        recipe: a recipe for one run.
        family: what the model is to be; None where the data do not tell.
        suites: what is measured.
    """
    problems = limit_problems(suites, recipe.budget, recipe.confidence, recipe.control_share, recipe.held_out_tokens)
    problems += augmentation_problems(recipe.augment)
    if recipe.augment and recipe.training.get("dataloader_persistent_workers") is True:
        problems.append(
            "training.dataloader_persistent_workers: such workers would see every epoch as the first one augmented it; "
            "leave it out, or leave out augment."
        )
    if recipe.augment and recipe.kl_weight and recipe.teacher and recipe.kl_on == "batch":
        problems.append(
            "augment: a teacher's answers are kept by image, and augmentation changes the images in every epoch; leave "
            "augment out, or say --kl-on keep."
        )
    penalties = [("kl_weight", recipe.kl_weight and recipe.kl_on == "keep"), ("ewc", recipe.ewc)]
    penalties.append(("feature_weight", recipe.keeps_features))
    scaled = [flag_name(Recipe, name) for name, given in penalties if given]
    if scaled and recipe.training.get("fp16") is True:
        problems.append(
            f"training.fp16: it scales the loss, and the gradient of {' and '.join(scaled)} cannot be scaled with it; "
            "say --training.bf16 true."
        )
    return problems + (_unsuited(recipe, family) if family is not None else [])


def _unsuited(recipe: Recipe, family: Family) -> list[str]:
    """A sentence for each part of a recipe that models of a family cannot have."""
    problems = probe_problems(recipe, family)
    if recipe.replay and family != "causal-lm":
        problems.append(
            "replay: a classifier's head has no answer to text or images of other kinds; use --kl-weight, which keeps "
            "what the base makes of them."
        )
    if recipe.augment and family != "image-classifier":
        problems.append("augment: it crops and mirrors training images, and these are texts; leave it out.")
    if family.endswith("classifier") and KL in recipe.budget:
        problems.append(
            f"budget: {KL} is measured on held-out text, which a classifier does not predict; limit suites."
        )
    return problems


def read_suites(recipe: MeasurementOptions, problems: list[str]) -> Suites:
    """Read all that is measured; each part may be missing.

    Of completions the first items are tested, of classes evenly many.
    """
    found: list[Suite] = []
    if recipe.test:
        source = recipe.test if is_suite(recipe.test) else with_columns(recipe.test, recipe.columns)
        suite = as_suite(source, "task", problems)
        found.append(replace(suite, items=first_or_evenly(suite.items, recipe.test_items)))
    for source in recipe.keep:
        suite = as_suite(source, "keep", problems)
        found.append(replace(suite, items=evenly(suite.items, recipe.keep_items)))
    asked = getattr(recipe, "gone", ())
    found += [as_suite(source, "gone", problems) for source in asked]  # all of each: fewer could hide what is left
    problems += gone_problems(found)
    return Suites(distinct(found, problems), read_held_out(recipe.held_out_text, problems))


_CALLED: dict[Part, str] = {"task": "task", "keep": "retention suite", "gone": "suite of what should be gone"}


def distinct(suites: Iterable[Suite], problems: list[str]) -> list[Suite]:
    """All suites with each name once, the copies of a question within each in one group.

    A suite named as one of another part gets another name; two of one name and part are a problem.
    """
    found: dict[str, Suite] = {}
    order: dict[Part, str] = {"task": "", "keep": " (kept)", "gone": " (gone)"}
    for suite in sorted(suites, key=lambda one: [*order].index(one.part)):
        taken = suite.name in found and found[suite.name].part != suite.part
        name = f"{suite.name}{order[suite.part]}" if taken else suite.name
        if name in found:
            problems.append(
                f"{suite.part}: there is another {_CALLED[suite.part]} named {suite.name!r}; give one a name of your "
                "own, as NAME:=SOURCE."
            )
        found[name] = replace(suite, name=name, items=with_copies_grouped(suite.items))
    return list(found.values())


def read_held_out(sources: Sequence[str], problems: list[str]) -> dict[str, str]:
    """Held-out texts by domain, the name of the file without its ending, or NAME of `NAME:=SOURCE`."""
    found: dict[str, str] = {}
    for source in sources:
        named, mark, other = source.partition(NAMED)
        name, text = (
            (named, read_text(other, problems)) if mark else (name_of_source(source), read_text(source, problems))
        )
        if name in found:
            problems.append(
                f"held_out_text: {source}: there is another text named {name!r}; give one a name of your own, as "
                "NAME:=FILE."
            )
        found |= {name: text} if text else {}
    return found
