"""The kinds of suites by name."""

from __future__ import annotations

from retain.evaluation.kinds.choice import CHOICE
from retain.evaluation.kinds.completion import COMPLETION
from retain.evaluation.kinds.kind import Kind
from retain.evaluation.kinds.labels import LABELS
from retain.evaluation.kinds.neighbours import NEIGHBOURS_KIND
from retain.evaluation.kinds.question import QUESTION
from retain.evaluation.kinds.refusal import REFUSAL
from retain.evaluation.kinds.retrieval import RETRIEVAL

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (COMPLETION, CHOICE, QUESTION, REFUSAL, LABELS, RETRIEVAL, NEIGHBOURS_KIND)
}


def kind_of_form(form: str) -> str:
    """The kind by which items of a form are put where nothing else is said."""
    return "labels" if form == "pictures" else form
