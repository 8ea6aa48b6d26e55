"""What a model is to be loaded as, decided by the data: what is to be learned, or else what is to be measured."""

from __future__ import annotations

from retain.data.items import Picture
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
                f"{suite.name}: a suite of {'pictures' if pictures else 'texts'} of kind {kind.name} cannot be put to a "
                f"{family.replace('-', ' ')}, which the data ask for; leave it out."
            )
    if suites.reference and family != "causal-lm":
        problems.append(
            f"reference: text is predicted token by token, which a {family.replace('-', ' ')} cannot do; leave it out, "
            "and keep its features by a suite of kind retrieval or neighbours."
        )
    return problems
