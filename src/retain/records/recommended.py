"""What the benchmark shows for each kind of model, to begin with: written by studies/benchmark/page.py, shipped.

It is made from the benchmark's records, so that advice and evidence cannot differ; where there is none, it says so.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from retain.records.reading import read_model

Kind = Literal["language", "encoder", "vision"]

SHIPPED = Path(__file__).with_name("recommended.json")

NAMES: dict[Kind, str] = {"language": "language models", "encoder": "encoders", "vision": "vision models"}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Record):
    """One hypervolume of gain and retention, as a ratio to tuned LoRA's.

    Attributes:
        task: the benchmark's task.
        kept: what was to be kept: a suite, or text.
        ratio: above 1 is better than LoRA.
        interval: of 95 %, over items and seeds.
        differs: it differs from 1 after Holm's correction over the methods.
    """

    task: str
    kept: str
    ratio: float
    interval: tuple[float, float] | None
    differs: bool

    @property
    def better(self) -> bool:
        """Shown to be above LoRA's."""
        return self.differs and self.ratio > 1


class Point(_Record):
    """What a method gained and lost on a task at one learning rate, means over seeds.

    Attributes:
        task: the benchmark's task.
        learning_rate: one of the three.
        seeds: how many runs.
        gain: on the task's test items.
        unit: of gain.
        lost: points of each suite; negative where the model got better.
    """

    task: str
    learning_rate: float
    seeds: int
    gain: float
    unit: str
    lost: dict[str, float]


class Best(_Record):
    """The method that is first by the figures, as a recipe has it.

    Attributes:
        method: its name in the benchmark's plan.
        title: as the page names it.
        fields: of the recipe, without the learning rate.
        reads_keep: it reads text (or images) to keep.
        steps: the share of the planned steps that it trains for, where that is what makes the method.
        balanced: of each task, the rate whose own point covers the largest area of gain and retention: to begin with.
        most: the rate that was chosen by what was learned alone, where all three were tried.
        mean: the geometric mean of its ratios.
        interval: of 95 %, over items and seeds; the choice of the first by this mean is not in it.
        figures: all of them.
    """

    method: str
    title: str
    fields: dict[str, Any]
    reads_keep: bool = False
    steps: float | None = None
    balanced: tuple[Point, ...]
    most: tuple[Point, ...]
    mean: float
    interval: tuple[float, float] | None = None
    figures: tuple[Figure, ...]

    @property
    def shown(self) -> bool:
        """Every figure is shown to be better than LoRA's."""
        return all(figure.better for figure in self.figures)

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to begin with, each once: one, or one a task."""
        return tuple(dict.fromkeys(point.learning_rate for point in self.balanced))

    @property
    def entry(self) -> dict[str, Any]:
        """The fields as an entry of a recipe's `methods`: {name: lora, kl_weight: 3.0}."""
        return {**self.fields["method"], **{name: value for name, value in self.fields.items() if name != "method"}}


class OfKind(_Record):
    """What is known of one kind of model.

    Attributes:
        kind: of model.
        tasks: on which at least two methods have three seeds; none where nothing is known.
        models: that were trained.
        seeds: the fewest of any method compared.
        methods: titles of those compared on all these tasks, LoRA first.
        best: the first by the figures where its mean is above 1; None where it is LoRA itself.
        unsure: tasks that tell nothing although methods have seeds: LoRA's own gain there could be none.
    """

    kind: Kind
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    seeds: int = 0
    methods: tuple[str, ...] = ()
    best: Best | None = None
    unsure: tuple[str, ...] = ()


class Recommended(_Record):
    """All kinds: `recommended.json`."""

    retain_recommended: Literal[1] = 1
    kinds: tuple[OfKind, ...]

    def of(self, kind: Kind) -> OfKind:
        """What is known of one kind."""
        return next((one for one in self.kinds if one.kind == kind), OfKind(kind=kind))


def shipped() -> Recommended:
    """What this version of retain was shipped with."""
    return read_model(SHIPPED, Recommended)


def kind_of(family: str) -> Kind:
    """The kind of model of a family: language models, encoders of text, vision models."""
    if family == "causal-lm":
        return "language"
    return "vision" if family.startswith("image") else "encoder"


def sentences(known: OfKind) -> list[str]:
    """What the benchmark shows of a kind of model, how sure it is, and what it leaves open."""
    name = NAMES[known.kind]
    if not known.tasks:
        why = "no method has three seeds beside LoRA's"
        if known.unsure:
            why = f"what LoRA itself gained on {_listed(known.unsure)} could be none, so nothing can be measured by it"
        return [f"Of {name} the benchmark says nothing yet: {why}."]
    on = f"{_listed(known.tasks)} with {_listed(known.models)}, {known.seeds} seeds a method"
    compared = f"The benchmark compared {_listed(known.methods)} on {name} ({on}, three learning rates each)."
    if known.best is None:
        return [compared, "None has more area of gain and retention than tuned LoRA: begin with LoRA.", _open(known)]
    best = known.best
    mean = f"{best.mean:.2f}{written_interval(best.interval)}"
    told = f"{best.title} is first by the figures: {mean} times LoRA's area of gain and retention, in the geometric "
    told += f"mean over {len(best.figures)} figures."
    flags = f"As flags of retain tune: {flags_of(best)}{_steps(best)}."
    return [compared, told, _sure(best), flags, *_keeping(known.kind, best), _open(known)]


def _sure(best: Best) -> str:
    """Which of the figures show that the first is better than tuned LoRA."""
    if best.shown:
        return "That it is better than tuned LoRA is shown by each of these figures, after correction for many methods."
    better = [figure for figure in best.figures if figure.better]
    luck = f"{len(best.figures) - len(better)} of {len(best.figures)} figures could be luck, or rest on single seeds."
    if not better:
        return f"That it is better than tuned LoRA is not shown: {luck}"
    tasks = dict.fromkeys(figure.task for figure in better)
    shown = [f"{task} ({', '.join(one.kept for one in better if one.task == task)})" for task in tasks]
    return f"That it is better than tuned LoRA is shown on {'; '.join(shown)}; {luck}"


def _keeping(kind: Kind, best: Best) -> list[str]:
    """Where what the method is to keep comes from, if it reads any."""
    if not best.reads_keep:
        return []
    if kind == "language":
        return ["It reads text to keep, which the base writes itself; --calibrate-keep gives other text."]
    return ["It reads examples of what is to be kept, which --calibrate-keep names."]


def flags_of(best: Best) -> str:
    """The fields as flags of `retain tune`, with the learning rate to begin with, or the first of several."""
    first, *others = best.rates
    more = f" (or {' or '.join(f'{rate:g}' for rate in others)})" if others else ""
    return " ".join([*_flags("--", best.fields), f"--learning-rate {first:g}"]) + more


def _flags(prefix: str, fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if name == "method" and prefix == "--":
            yield f"--method {value['name']}"
            yield from _flags("--method.", {field: own for field, own in value.items() if field != "name"})
        elif isinstance(value, dict):
            yield from _flags(f"{prefix}{name}.", value)
        else:
            shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
            yield f"{prefix}{name.replace('_', '-') if prefix == '--' else name} {shlex.quote(str(shown))}"


def _steps(best: Best) -> str:
    return f", and {best.steps:g} times the steps that you planned" if best.steps else ""


def written_interval(ends: tuple[float, float] | None) -> str:
    """An interval as it stands behind its figure; empty without one."""
    return "" if ends is None else f" [{ends[0]:.2f}, {ends[1]:.2f}]"


def _open(known: OfKind) -> str:
    tasks, models = len(known.tasks), len(known.models)
    return (
        f"It rests on {tasks} task{'s' if tasks > 1 else ''} and {models} small model{'s' if models > 1 else ''}: "
        "a place to begin, to be measured on yours."
    )


def _listed(names: tuple[str, ...]) -> str:
    return "; ".join(names) if any("," in name for name in names) else ", ".join(names)
