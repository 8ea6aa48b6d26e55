"""The family that a model is loaded as, decided by the data, and what cannot be measured or learned with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from retain.data.answers import called
from retain.data.family import Family, Modality, family_for, in_words, modality_of, provides
from retain.data.forms import CONVERSATION, FORMS, Rows
from retain.data.item import labels_of
from retain.data.numbers import whole_scale_told
from retain.data.preprocess import Preprocessor
from retain.errors import sentence
from retain.evaluate.suites.suite import Suites
from retain.evaluate.tasks.table import task_type_of
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import root_of
from retain.jobs.harness.lm_eval import INSTALL


def family_of(form: str | None, suites: Suites) -> Family:
    """The family that a model is loaded as.

    Args:
        form: form of the training data; None where nothing is trained.
        suites: what is measured.
    """
    trained = FORMS.get(form or "")
    if trained is not None and trained.trains is not None:
        return family_for(trained.trains, trained.modality)
    needs = {task_type_of(suite).needs for suite in suites.all}
    modality: Modality = "image" if any(suite.modality == "image" for suite in suites.all) else "text"
    if suites.held_out_text or "causal-lm" in needs or not needs:
        return "causal-lm"
    return family_for("classifier" if "classifier" in needs else "features", modality)


def family_of_model(model: Any, preprocessor: Preprocessor) -> Family:
    """The family of a loaded model: a classifier by its class, a language model if it can predict tokens."""
    root: Any = root_of(model)
    if is_classifier(root):
        return family_for("classifier", preprocessor.modality)
    if not preprocessor.reads_text:
        return "image-features"
    able = getattr(root, "can_generate", lambda: True)() or root.get_output_embeddings() is not None
    return "causal-lm" if able else "text-features"


def unmeasurable(family: Family, suites: Suites) -> list[str]:
    """A sentence for each suite or text that cannot be measured on a model of this family."""
    problems = []
    for suite in suites.all:
        if not suite.items:  # the problem was found where the suite was read
            continue
        task_type = task_type_of(suite)
        if not provides(family, task_type.needs) or suite.modality != modality_of(family):
            problems.append(
                f"{suite.name}: a suite of {suite.modality}s of task type {task_type.name} cannot be measured on "
                f"{in_words(family)}, which is what the model is here; leave it out."
            )
        problems += task_type.bank_problems(suite)
    if suites.held_out_text and family != "causal-lm":
        problems.append(
            f"held_out_text: text is predicted token by token, which {in_words(family)} cannot do; leave it "
            "out, and retain its features by a suite of task type retrieval or neighbours."
        )
    return problems


def harness_problems(tasks: Sequence[str], family: Family, suites: Suites) -> list[str]:
    """Sentences on what speaks against tasks of lm-evaluation-harness, known before any model is loaded."""
    if not tasks:
        return []
    problems = []
    if family != "causal-lm":
        problems.append(f"lm_eval: its tasks are for language models, and this is {in_words(family)}; leave them out.")
    if importlib.util.find_spec("lm_eval") is None:
        problems.append(f"lm_eval: lm-evaluation-harness is not installed; {INSTALL}")
    taken = [suite.name for suite in suites.of("keep") if suite.name in tasks]
    return problems + [f"lm_eval: {name} is the name of a retention suite too; rename that suite." for name in taken]


def learning_problems(train: Rows, family: Family, suites: Suites) -> list[str]:
    """A sentence for each reason against learning these items and measuring those suites with them."""
    if not train.items:  # the problem was found where they were read
        return []
    if FORMS[train.form].trains is None:
        columns = ", ".join(FORMS[train.form].columns)
        learned = [", ".join(form.columns) for form in FORMS.values() if form.trains is not None]
        known = "; ".join([*learned, CONVERSATION])
        return [f"train: rows of {columns} are measured, not learned. What can be learned are rows of {known}."]
    problems = unmeasurable(family, suites)
    if not family.endswith("classifier"):
        return problems
    items: Sequence[Any] = train.items
    if scale := whole_scale_told([item.label for item in items]):
        return [*problems, sentence(f"train: {scale}")]
    known_labels = labels_of(train.items)
    if len(known_labels) < 2:
        problems.append(f"train: has {len(known_labels)} class; at least two are needed.")
    return problems + unknown_classes(known_labels, suites)


def unknown_classes(known: Sequence[str], suites: Suites) -> list[str]:
    """A sentence for each suite with classes that a classifier does not know."""
    problems = []
    for suite in suites.all:
        if task_type_of(suite).needs != "classifier":
            continue
        labels = labels_of(suite.items)
        unknown = sorted(set(labels) - set(called(known, labels)))
        if unknown:
            problems.append(
                f"{suite.name}: its classes {', '.join(unknown[:5])} are not among those that the model knows or "
                f"learns ({', '.join(known[:8])}); rename them, or measure it as a suite of features (task_type: "
                "neighbours)."
            )
    return problems
