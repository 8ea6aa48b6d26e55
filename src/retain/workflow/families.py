"""What a model is to be loaded as, decided by the data: what is to be learned, or else what is to be measured."""

from __future__ import annotations

from collections.abc import Sequence

from retain.data.items import Picture
from retain.data.readers import labels_of
from retain.data.rows import FORMS, Rows
from retain.evaluation.kinds.table import KINDS
from retain.evaluation.suites import Suites
from retain.workflow.models import Family

_BY_FORM: dict[str, Family] = {
    "completion": "causal-lm",
    "labels": "text-classifier",
    "pictures": "image-classifier",
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
    needs = {KINDS[suite.kind].needs for suite in suites.all}
    pictures = any(isinstance(item, Picture) for suite in suites.all for item in suite.items[:1])
    if suites.reference or "causal-lm" in needs or not needs:
        return "causal-lm"
    if "classifier" in needs:
        return "image-classifier" if pictures else "text-classifier"
    return "image-features" if pictures else "text-features"


def wrong_kinds(family: Family, suites: Suites) -> list[str]:
    """What cannot be measured on a model of this family, one sentence each."""
    problems = []
    for suite in suites.all:
        if not suite.items:  # that it holds none is told where it was read
            continue
        kind = KINDS[suite.kind]
        pictures = any(isinstance(item, Picture) for item in suite.items[:1])
        readable = pictures == family.startswith("image")
        able = {
            "causal-lm": family == "causal-lm",
            "classifier": family.endswith("classifier"),
            "features": True,
        }[kind.needs]
        if not able or not readable:
            problems.append(
                f"{suite.name}: a suite of {'pictures' if pictures else 'texts'} of kind {kind.name} cannot be put to "
                f"a {family.replace('-', ' ')}, which the data ask for; leave it out."
            )
    if suites.reference and family != "causal-lm":
        problems.append(
            f"reference: text is predicted token by token, which a {family.replace('-', ' ')} cannot do; leave it out, "
            "and keep its features by a suite of kind retrieval or neighbours."
        )
    return problems


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
    return problems + foreign_classes(known, suites)


def foreign_classes(known: Sequence[str], suites: Suites) -> list[str]:
    """A sentence for each suite with classes that a classifier does not know."""
    problems = []
    for suite in suites.all:
        foreign = sorted(set(labels_of(suite.items)) - set(known)) if suite.kind == "labels" else []
        if foreign:
            problems.append(
                f"{suite.name}: its classes {', '.join(foreign[:5])} are not among those that the model knows or "
                f"learns ({', '.join(known[:8])}); rename them, or keep it as a suite of features (kind: neighbours)."
            )
    return problems
