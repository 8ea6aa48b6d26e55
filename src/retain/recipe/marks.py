"""Marks on fields: what each decides, who takes it over, and where it stands on the command line.

A field is marked where it is declared, in its annotation:

    epochs: Annotated[float, Decides("training", recorded=True), Flag(COMMON)] = Field(3.0, gt=0, description="…")

Every list of field names is a query over these marks (`fields_where`, `flags_where`), so a new field is one place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import BaseModel

Part = Literal[
    "training", "initialisation", "text", "measuring", "items", "data", "nothing", "answers", "predictions", "scores"
]
"""Subjects that a field of a recipe decides:

training        what is trained: it stands in the training part of a run's identity
initialisation  the same, of runs whose method has a data-driven initialisation
text            the same, of runs that read text to learn or to keep
measuring       how something is measured: it stands in the measuring part
items           which items are measured: it stands in the measuring part, too
data            data, which count by their content and not by their name
nothing         nothing that tells runs apart

and a field of the evaluation's settings:

answers         the answer to an item
predictions     which answers are written, and in which batches
scores          only what is computed from the answers
"""

Heir = Literal["from", "scale"]

COMMON = "common options"
"""The topic of the flags that most calls use."""

TOPICS = {
    COMMON: "",
    "comparison": "methods, learning rates, seeds, and where the runs are done",
    "sweep": "a few steps for each candidate",
    "scaling": "of the update",
    "model": "how it is loaded",
    "training": "how it is trained",
    "processes": "several processes, on one machine or more",
    "regularisation": "against catastrophic forgetting while training",
    "budget": "how the forgetting budget is certified",
    "calibration": "text to learn and to keep, for regularisers and data-driven initialisations",
    "measurement": "how it is measured and judged",
    "served": "a tuned model behind a server, or in a GGUF file",
    "logs": "how predictions that exist are read and paired",
    "harness": "tasks of lm-evaluation-harness",
    "GGUF": "for llama.cpp and Ollama",
    "serving": "what servers would refuse of the result",
}
"""Topics of the help in its order, each with what its heading adds."""


@dataclass(frozen=True)
class Decides:
    """The mark of what a field decides.

    Attributes:
        part: see `Part`.
        when: a field or property of the recipe; the field decides something only where that is true.
        inherited_by: who takes the value from an earlier run's recipe: a run that goes on `--from` it, `retain scale`.
        recorded: whether the result states the value.
        of_candidate: whether each candidate of a sweep brings its own value, or needs none.
        secret: whether the value may hold a key; it is written down redacted, or left out.
        argument: the field of transformers' TrainingArguments that it sets.
        by_method: whether an entry of a comparison's `methods` may give its own value, as {name: lora, replay: 0.25}.
        later: it came later: at its default it stands in no identity, so that runs from before it keep theirs.
    """

    part: Part
    when: str = ""
    inherited_by: tuple[Heir, ...] = ()
    recorded: bool = False
    of_candidate: bool = False
    secret: bool = False
    argument: str = ""
    by_method: bool = False
    later: bool = False


@dataclass(frozen=True)
class Flag:
    """The mark of a field's flag on the command line.

    Attributes:
        topic: a key of `TOPICS`.
        placeholder: the word for its value in the help. [by the field's type]
        name: the flag, where it is not called as the field.
        place: place among the common options.
        in_comparison: the field that takes its place in `retain compare`.
    """

    topic: str
    placeholder: str = ""
    name: str = ""
    place: int = 9
    in_comparison: str = ""


Mark = TypeVar("Mark", Decides, Flag)


def decisions(holder: type) -> dict[str, Decides]:
    """The `Decides` of every field of a recipe (or of a dataclass of settings), in their order.

    Raises:
        TypeError: a field has none.
    """
    return dict(_marks(holder, Decides))


def flags(recipe: type[BaseModel]) -> dict[str, Flag]:
    """The `Flag` of every field of a recipe, in their order.

    Raises:
        TypeError: a field has none.
    """
    return dict(_marks(recipe, Flag))


def fields_where(holder: type, holds: Callable[[Decides], bool]) -> tuple[str, ...]:
    """The names of the fields whose `Decides` a condition holds for, in their order.

    Examples:
        >>> from retain.recipe import Recipe
        >>> fields_where(Recipe, lambda decides: decides.secret)
        ('judge',)
    """
    return tuple(name for name, decides in decisions(holder).items() if holds(decides))


def flags_where(recipe: type[BaseModel], holds: Callable[[Flag], bool]) -> tuple[str, ...]:
    """The names of the fields whose `Flag` a condition holds for, in their order."""
    return tuple(name for name, flag in flags(recipe).items() if holds(flag))


def flag_name(recipe: type[BaseModel], field: str) -> str:
    """The flag of a field, as `--max-steps`; of a name that is no field, as if it were one."""
    marked = flags(recipe).get(field)
    return (marked.name if marked else "") or f"--{field.replace('_', '-')}"


@cache
def _marks(holder: type, kind: type[Mark]) -> tuple[tuple[str, Mark], ...]:
    marks = {
        name: next((mark for mark in metadata if isinstance(mark, kind)), None)
        for name, metadata in _metadata(holder).items()
    }
    unmarked = [name for name, mark in marks.items() if mark is None]
    if unmarked:
        raise TypeError(f"{holder.__name__}: no {kind.__name__} at {', '.join(unmarked)}")
    return tuple((name, mark) for name, mark in marks.items() if mark is not None)


def _metadata(holder: type) -> dict[str, Any]:
    if issubclass(holder, BaseModel):
        return {name: field.metadata for name, field in holder.model_fields.items()}
    hints = get_type_hints(holder, include_extras=True)
    return {name: getattr(hints[name], "__metadata__", ()) for name in inspect.signature(holder).parameters}
