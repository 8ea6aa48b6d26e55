"""The table of task types. A new one is a file beside this one and a row here."""

from __future__ import annotations

from retain.data.forms import FORMS, LEARNED
from retain.data.item import DataItem
from retain.errors import sentence
from retain.evaluate.suites.suite import Part, Suite
from retain.evaluate.tasks.choice import ChoiceTask
from retain.evaluate.tasks.completion import CompletionTask
from retain.evaluate.tasks.labels import LabelsTask
from retain.evaluate.tasks.neighbours import NeighboursTask
from retain.evaluate.tasks.question import QuestionTask
from retain.evaluate.tasks.refusal import RefusalTask
from retain.evaluate.tasks.retrieval import RetrievalTask
from retain.evaluate.tasks.task_type import TaskType

TASK_TYPES: dict[str, TaskType] = {
    task_type.name: task_type
    for task_type in (
        CompletionTask(),
        ChoiceTask(),
        QuestionTask(),
        RefusalTask(),
        LabelsTask(),
        RetrievalTask(),
        NeighboursTask(),
    )
}
"""By name; plain data are of the first task type that takes their form."""


def task_type_of(suite: Suite) -> TaskType:
    """The task type of a suite."""
    return TASK_TYPES[suite.task_type]


def task_type_of_form(form: str) -> str:
    """Name of the task type for plain data of a form."""
    return next(name for name, each in TASK_TYPES.items() if form in {taken.form for taken in each.forms})


def known_forms(part: Part = "keep") -> dict[str, type[DataItem]]:
    """All forms of items: those of the data, and those that only a task type brings; of a part, as it is read."""
    own = LEARNED if part == "task" else FORMS
    return {**own, **{form.form: form for each in TASK_TYPES.values() for form in each.forms}}


def suite_problems(suite: Suite) -> list[str]:
    """Reasons why a suite's items cannot be measured together, one sentence each."""
    return [sentence(f"{suite.name}: {problem}") for problem in task_type_of(suite).problems(suite)]
