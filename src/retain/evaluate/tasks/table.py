"""The kinds of suites by name."""

from __future__ import annotations

from retain.evaluate.tasks.choice import CHOICE
from retain.evaluate.tasks.completion import COMPLETION
from retain.evaluate.tasks.labels import LABELS
from retain.evaluate.tasks.neighbours import NEIGHBOURS_KIND
from retain.evaluate.tasks.question import QUESTION
from retain.evaluate.tasks.refusal import REFUSAL
from retain.evaluate.tasks.retrieval import RETRIEVAL
from retain.evaluate.tasks.task_type import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (COMPLETION, CHOICE, QUESTION, REFUSAL, LABELS, RETRIEVAL, NEIGHBOURS_KIND)
}


def kind_of_form(form: str) -> str:
    """The kind by which items of a form are put where nothing else is said."""
    return "labels" if form == "pictures" else form
