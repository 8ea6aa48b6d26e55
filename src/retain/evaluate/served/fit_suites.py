"""The suites as a server can be measured on them; what cannot be had is told before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.table import task_type_of
from retain.served.model import Capabilities

NO_LIKELIHOOD = "gives no log-probabilities of given text"
ONLY_CHAT = "answers conversations only, which it renders itself"


def fit_suites(suites: Suites, sides: Sequence[Capabilities], settings: Settings) -> tuple[Suites, list[str]]:
    """The suites in the form in which all sides can be asked alike, and a sentence on each that has another.

    Args:
        suites: as they were given.
        sides: the abilities of the served sides.
        settings: how items become inputs.
    """
    likelihood = all(side.likelihood is not None for side in sides)
    in_chat = any(side.writing[:1] == ("chat",) for side in sides)
    kept: list[Suite] = []
    told: list[str] = []
    for suite in suites.all:
        fitted: Suite | None = suite
        if not likelihood:
            fitted, clause = task_type_of(suite).without_likelihood(suite, settings)
            told += [f"{suite.name}: the server {NO_LIKELIHOOD}, so {clause}."] if clause else []
        if fitted is not None and in_chat:
            talked = task_type_of(fitted).in_conversation(fitted)
            if talked is not fitted:
                told.append(
                    f"{suite.name}: the server {ONLY_CHAT}, so each prompt is put to both sides as one message of a "
                    "user, the base's through its own chat template."
                )
            fitted = talked
        kept += [fitted] if fitted is not None else []
    text = suites.held_out_text
    if text and not likelihood:
        told.append(f"Held-out text: the server {NO_LIKELIHOOD}, so it cannot be measured.")
        text = {}
    return replace(suites, all=kept, held_out_text=text), told
