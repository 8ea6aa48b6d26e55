"""The kinds of suites by name."""

from __future__ import annotations

from retain.evaluate.tasks.choice import CHOICE
from retain.evaluate.tasks.completion import COMPLETION
from retain.evaluate.tasks.labels import LABELS
from retain.evaluate.tasks.neighbours import NEIGHBOURS
from retain.evaluate.tasks.question import QUESTION
from retain.evaluate.tasks.refusal import REFUSAL
from retain.evaluate.tasks.retrieval import RETRIEVAL
from retain.evaluate.tasks.task_type import TaskType

TASK_TYPES: dict[str, TaskType] = {
    task_type.name: task_type for task_type in (COMPLETION, CHOICE, QUESTION, REFUSAL, LABELS, RETRIEVAL, NEIGHBOURS)
}


def task_type_of_form(form: str) -> str:
    """The kind by which items of a form are put where nothing else is said."""
    return "labels" if form == "images" else form
