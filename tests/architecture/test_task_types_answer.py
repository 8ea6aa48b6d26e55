"""Task types, items and preprocessors answer for themselves. Read from the syntax tree: nothing else names one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from retain.data.forms import FORMS
from retain.data.item import DataItem
from retain.data.preprocess import Preprocessor
from retain.evaluate.tasks.table import TASK_TYPES

SOURCE = Path(__file__).parents[2] / "src" / "retain"

HOMES = ("data/", "evaluate/tasks/")
"""Folders in which items, preprocessors and task types are defined."""

NAMES = {*TASK_TYPES, *FORMS}
AMBIGUOUS = {"labels"}
"""Also a key of a model's inputs: it is looked for only where it is compared with, or subscripts, what is named so."""

NAMED = {"task_type", "form", "forms", "kind", "FORMS", "TASK_TYPES"}
"""Identifiers whose value is, or is looked up by, the name of a task type or of a form."""


def classes_below(base: type) -> set[str]:
    """The names of a class and of all that inherit from it."""
    return {base.__name__}.union(*(classes_below(each) for each in base.__subclasses__()))


CHECKED = classes_below(DataItem) | classes_below(Preprocessor)
ALLOWED = {"jobs/judge/read_inspect.py": "a key of inspect_ai's logs"}
"""File → why it may ask for the class of an item or preprocessor, or name a task type."""


def faults(source: str) -> Iterator[str]:
    """Places that name a task type or a form, or ask for the class of an item or a preprocessor."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in NAMES - AMBIGUOUS:
            yield f"line {node.lineno} names {node.value!r}"
        elif isinstance(node, (ast.Compare, ast.Subscript, ast.Call)) and AMBIGUOUS & _compared(node):
            yield f"line {node.lineno} compares with {AMBIGUOUS & _compared(node)}"
        elif isinstance(node, ast.Call) and _name(node.func) in {"isinstance", "issubclass"}:
            asked = {_name(part) for part in ast.walk(node.args[1])} & CHECKED
            if asked:
                yield f"line {node.lineno} asks for the class {', '.join(sorted(asked))}"
        elif isinstance(node, ast.MatchClass) and _name(node.cls) in CHECKED:
            yield f"line {node.lineno} matches the class {_name(node.cls)}"


def _compared(node: ast.Compare | ast.Subscript | ast.Call) -> set[object]:
    """The strings that an expression compares with, looks up in, or passes as, what is named in `NAMED`."""
    if isinstance(node, ast.Call):
        values = [word.value for word in node.keywords if word.arg in NAMED]
        values += node.args if _name(getattr(node.func, "value", None)) in NAMED else []
    else:
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.value, node.slice]
        values = sides if any(_name(side) in NAMED for side in sides) else []
    return {part.value for value in values for part in ast.walk(value) if isinstance(part, ast.Constant)}


def _name(node: ast.AST | None) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def test_only_their_homes_name_task_types_and_ask_for_classes():
    found = [
        f"{place}: {fault}"
        for path in sorted(SOURCE.rglob("*.py"))
        if not (place := path.relative_to(SOURCE).as_posix()).startswith(HOMES) and place not in ALLOWED
        for fault in faults(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_in_the_homes_nothing_asks_for_the_class_of_an_item_or_preprocessor():
    found = [
        f"{path.name}: {fault}"
        for home in HOMES
        for path in (SOURCE / home).glob("*.py")
        for fault in faults(path.read_text("utf-8"))
        if "class" in fault
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'if suite.task_type == "choice": pass',
        'if suite.task_type in {"labels", "other"}: pass',
        'found = TASK_TYPES["labels"]',
        'Suite("name", task_type="labels")',
        'TASK_TYPES.get("labels")',
        'DEFAULT = "completion"',
        "isinstance(preprocessor, TextPreprocessor)",
        "isinstance(item, (str, items.LabelledImage))",
        "issubclass(kind, Example)",
        "match item:\n    case Question(): pass",
    ],
)
def test_each_way_of_naming_one_is_found(source):
    assert list(faults(source))


@pytest.mark.parametrize("source", ['batch["labels"]', 'f(labels="labels")', "isinstance(value, str)", '"a choice"'])
def test_other_uses_of_the_words_are_free(source):
    assert not list(faults(source))
