"""What a model is to be loaded as, decided by the data: what is to be learned, or else what is to be measured."""

from __future__ import annotations

import importlib
import importlib.util
import shlex
import shutil
from collections.abc import Sequence
from typing import Any

from retain.data.items import LabelledImage
from retain.data.preprocess import ImagePreprocessor, Preprocessor, labels_of
from retain.data.rows import FORMS, Rows
from retain.evaluate.refusals import PYTHON
from retain.evaluate.suites.suite import Suite, Suites
from retain.evaluate.tasks.neighbours import NEIGHBOURS_ASKED
from retain.evaluate.tasks.table import TASK_TYPES
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import root_of
from retain.jobs.harness.lm_eval import INSTALL
from retain.jobs.inputs.models import Family
from retain.recipe import redacted

_BY_FORM: dict[str, Family] = {
    "completion": "causal-lm",
    "labels": "text-classifier",
    "images": "image-classifier",
}
"""By the form of the training data."""


def family_of(form: str | None, suites: Suites) -> Family:
    """What the model is loaded as.

    Args:
        form: of the training data; None where nothing is trained.
        suites: what is measured.
    """
    if form in _BY_FORM:
        return _BY_FORM[form]
    needs = {TASK_TYPES[suite.task_type].needs for suite in suites.all}
    pictures = any(isinstance(item, LabelledImage) for suite in suites.all for item in suite.items[:1])
    if suites.held_out_text or "causal-lm" in needs or not needs:
        return "causal-lm"
    if "classifier" in needs:
        return "image-classifier" if pictures else "text-classifier"
    return "image-features" if pictures else "text-features"


def family_of_model(model: Any, preprocessor: Preprocessor) -> Family:
    """What a model is loaded as already: a classifier by its class, a language model if it can predict tokens."""
    root: Any = root_of(model)
    pictures = isinstance(preprocessor, ImagePreprocessor)
    if is_classifier(root):
        return "image-classifier" if pictures else "text-classifier"
    if pictures:
        return "image-features"
    able = getattr(root, "can_generate", lambda: True)() or root.get_output_embeddings() is not None
    return "causal-lm" if able else "text-features"


def wrong_kinds(family: Family, suites: Suites) -> list[str]:
    """What cannot be measured on a model of this family, one sentence each."""
    problems = []
    for suite in suites.all:
        if not suite.items:  # that it holds none is told where it was read
            continue
        task_type = TASK_TYPES[suite.task_type]
        pictures = any(isinstance(item, LabelledImage) for item in suite.items[:1])
        readable = pictures == family.startswith("image")
        able = {
            "causal-lm": family == "causal-lm",
            "classifier": family.endswith("classifier"),
            "features": True,
        }[task_type.needs]
        if not able or not readable:
            problems.append(
                f"{suite.name}: a suite of {'pictures' if pictures else 'texts'} of kind {task_type.name} cannot be put to "
                f"a {family.replace('-', ' ')}, which is what the model is here; leave it out."
            )
        problems += _narrow_bank(suite)
    if suites.held_out_text and family != "causal-lm":
        problems.append(
            f"reference: text is predicted token by token, which a {family.replace('-', ' ')} cannot do; leave it out, "
            "and keep its features by a suite of kind retrieval or neighbours."
        )
    return problems


def _narrow_bank(suite: Suite) -> list[str]:
    asked = int(suite.options.get("k", NEIGHBOURS_ASKED))
    if suite.task_type != "neighbours" or asked <= len(suite.bank):
        return []
    told = f"{asked} nearest neighbours are asked, but its bank holds {len(suite.bank)} items"
    return [f"{suite.name}: {told}; give a larger bank, or a smaller k under options of the suite file."]


def harness_problems(tasks: Sequence[str], family: Family, suites: Suites) -> list[str]:
    """What speaks against asking tasks of lm-evaluation-harness, known before any model is loaded."""
    if not tasks:
        return []
    problems = []
    if family != "causal-lm":
        problems.append(
            f"lm_eval: its tasks are put to language models, and this is a {family.replace('-', ' ')}; leave them out."
        )
    if importlib.util.find_spec("lm_eval") is None:
        problems.append(f"lm_eval: lm-evaluation-harness is not installed; {INSTALL}")
    taken = [suite.name for suite in suites.of("keep") if suite.name in tasks]
    return problems + [f"lm_eval: {name} is the name of a retention suite too; rename that suite." for name in taken]


def judge_problems(judge: str | None) -> list[str]:
    """Why a judge of answers cannot be had, before anything is asked of it: no such function or program."""
    if judge is None:
        return []
    reason = _no_function(judge.removeprefix(PYTHON)) if judge.startswith(PYTHON) else _no_program(judge)
    return [f"judge {redacted(judge)}: {reason}."] if reason else []


def _no_function(place: str) -> str:
    module, _, name = place.partition(":")
    if not module or not name:
        return "a Python judge is named as python:MODULE:FUNCTION"
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 -- the user's module may raise anything as it is imported
        told = f"{type(error).__name__}: {error}"
        return f"{module}:{name} cannot be imported ({told}); its folder must be on Python's path (PYTHONPATH)"
    return "" if callable(found) else f"{module}:{name} is no function but a {type(found).__name__}"


def _no_program(command: str) -> str:
    try:
        program = next(iter(shlex.split(command)), "")
    except ValueError as error:
        return f"cannot be read as a command ({error})"
    return "" if shutil.which(program) else f"there is no program {program!r} that can be run; give its path"


def learning_problems(train: Rows, family: Family, suites: Suites) -> list[str]:
    """What speaks against learning these items and measuring those suites with them, one sentence each."""
    if not train.items:  # that there are none is told where they were read
        return []
    if train.form not in _BY_FORM:
        keys = ", ".join(FORMS[train.form])
        learned = "prompt, completion; messages; text, label; image, label"
        return [f"train: rows of {keys} are measured, not learned. What can be learned are rows of {learned}."]
    problems = wrong_kinds(family, suites)
    if not family.endswith("classifier"):
        return problems
    known = labels_of(train.items)
    if len(known) < 2:
        problems.append(f"train: has {len(known)} class; at least two are needed.")
    return problems + unknown_classes(known, suites)


def unknown_classes(known: Sequence[str], suites: Suites) -> list[str]:
    """A sentence for each suite with classes that a classifier does not know."""
    problems = []
    for suite in suites.all:
        harness = sorted(set(labels_of(suite.items)) - set(known)) if suite.task_type == "labels" else []
        if harness:
            problems.append(
                f"{suite.name}: its classes {', '.join(harness[:5])} are not among those that the model knows or "
                f"learns ({', '.join(known[:8])}); rename them, or keep it as a suite of features (kind: neighbours)."
            )
    return problems
