"""The page's section on objections: its text, with what the records say filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from choose import best_rate
from evidence import VALIDATION, WINDOWS, Task, by_rate
from plan import BETWEEN, Plan

CONTROLS = ("lora-replay", "lora-kl", "lora-ewc", "lora-rank-32", "sc-lora-given", "lora-half", "lora-decay", "wise-ft")
"""Methods that the text names in its answers."""

TEXT = Path(__file__).with_name("objections.txt")


def objections_part(plan: Plan, tasks: Mapping[str, Task], records: Path) -> str:
    """The section."""
    text = TEXT.read_text(encoding="utf-8").rstrip()
    few = sorted({len(task.places(VALIDATION)) for task in tasks.values()})
    windows = sorted({len(task.weights(WINDOWS)) for task in tasks.values() if task.domains})
    return text.format(
        edges=edges(plan, list(tasks.values()), records),
        validation=f"{_span(few)} a task" if few else "how many, each task's section says",
        windows=f"{_span(windows)} windows a task" if windows else "some windows a task",
        controls=controls(plan, list(tasks.values())),
    )


def controls(plan: Plan, tasks: Sequence[Task]) -> str:
    """Which of the methods that answer an objection have no run on any task yet."""
    without = [name for name in CONTROLS if name in plan.methods and not any(by_rate(task, name) for task in tasks)]
    names = "; ".join(plan.title(name) for name in without)
    return f"**Without any run so far: {names}.**" if without else "Each of these has runs."


def edges(plan: Plan, tasks: Sequence[Task], records: Path) -> str:
    """How many of the rates that were chosen are the highest or lowest tried; LoRA's by name."""
    chosen = [
        (task, method, rate)
        for task in tasks
        for method in plan.methods
        if by_rate(task, method)
        and not plan.is_after(method)
        and method != BETWEEN
        and (rate := best_rate(plan, records, task.name, method)) is not None
    ]
    at_end = [(task, method) for task, method, rate in chosen if plan.end_of_sweep(task.name, method, rate)]
    if not chosen:
        return "No rate is chosen yet."
    ends = "are the highest or the lowest of their three (arrows in the tables)"
    return f"So far {len(at_end)} of {len(chosen)} chosen rates {ends}."


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
