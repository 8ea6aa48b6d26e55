"""What the benchmark advises for each kind of model: from the ratios to tuned LoRA's to the file that retain ships.

Of the methods that have three seeds on every task on which any has them, and that need no data like those measured, the
first by the geometric mean of its hypervolumes; LoRA where none is above 1. That is a choice by figures; whether they
are shown stands beside each. The learning rate to begin with is the one whose own point covers the largest area, since
the rate that is best for the task alone often forgets most. Method and rate are chosen on the items that are reported,
which flatters both; the sentences say so. The rules are younger than the first records.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

from choose import best_rate
from evidence import Draws, Task, by_rate, change, gain, kept
from goal import Found
from plan import LORA, Plan
from whole import Ratio, mean_interval

from retain.methods import table
from retain.recipe import Recipe
from retain.records.recommended import Best, Figure, Kind, OfKind, Point, Recommended, sentences, written_interval

NOTHING = 1e-3
"""What counts as no gain or nothing left: logarithms need more than 0."""

SEEN = "calibrate_keep"
"""A recipe's field that gives a method data like those that are measured."""


def recommended(plan: Plan, tasks: Mapping[str, Task], found: Mapping[str, Found], records: Path) -> Recommended:
    """What is known of every kind of model."""
    return Recommended(kinds=tuple(of_kind(plan, kind, tasks, found, records) for kind in get_args(Kind)))


def of_kind(plan: Plan, kind: Kind, tasks: Mapping[str, Task], found: Mapping[str, Found], records: Path) -> OfKind:
    """What is known of one kind of model."""
    figures = {
        name: mine
        for name, task in tasks.items()
        if task.entry["kind"] == kind and (mine := figures_of(plan, task, found[name]))
    }
    compared = [name for name in plan.methods if figures and all(name in known for known in figures.values())]
    if not compared:
        return OfKind(kind=kind, unsure=tuple(name for name, task in tasks.items() if tells_nothing(plan, task, kind)))
    own = [tasks[name] for name in figures]
    known = {name: tuple(one for task in figures.values() for one in task[name]) for name in compared}
    means = {name: math.exp(fmean(math.log(one.ratio) for one in known[name])) for name in compared}
    first = max(compared, key=lambda name: means[name])
    seeds = min(max(map(len, by_rate(task, name).values())) for task in own for name in (LORA, *compared))
    ratios = [found[one.task][one.kept][first]["hypervolume"] for one in known[first]]
    rates = {task.name: best_rate(plan, records, task.name, first) for task in own}
    best = Best(
        method=first,
        title=plan.title(first),
        fields=fields_of(plan, first, str(kind)),
        reads_keep=reads_keep(fields_of(plan, first, str(kind))),
        steps=plan.methods[first].get("steps"),
        balanced=tuple(point(task, first, balanced(task, first)) for task in own),
        most=tuple(point(task, first, rate) for task in own if (rate := rates[task.name]) is not None),
        mean=round(means[first], 3),
        interval=None
        if (interval := mean_interval(ratios)) is None
        else (round(interval[0], 3), round(interval[1], 3)),
        figures=known[first],
    )
    return OfKind(
        kind=kind,
        tasks=tuple(figures),
        models=tuple(dict.fromkeys(Path(next(iter(task.runs.values())).result.model).name for task in own)),
        seeds=seeds,
        methods=(plan.title(LORA), *map(plan.title, compared)),
        best=best if means[first] > 1 else None,
    )


def tells_nothing(plan: Plan, task: Task, kind: Kind) -> bool:
    """Tell whether a task of this kind has a method with three seeds, and LoRA, whose gain yet allows no interval."""
    seeded = [name for name in plan.methods if any(len(runs) > 2 for runs in by_rate(task, name).values())]
    advised = any(may_be_advised(plan, name, kind) for name in seeded)
    return task.entry["kind"] == kind and LORA in seeded and advised


def figures_of(plan: Plan, task: Task, found: Found) -> dict[str, list[Figure]]:
    """The hypervolumes of each method that has enough seeds for an interval and may be advised."""
    known: dict[str, list[Figure]] = {}
    for method in plan.methods:
        ratios = {suite: found[suite].get(method, {}).get("hypervolume") for suite in found}
        there = {suite: one for suite, one in ratios.items() if one is not None and one.interval is not None}
        if there and may_be_advised(plan, method, str(task.entry["kind"])):
            known[method] = [figure(task.name, suite, one) for suite, one in there.items() if one.value > 0]
    return {name: own for name, own in known.items() if own}


def balanced(task: Task, method: str) -> float:
    """The rate whose own point covers the most area above (no gain, nothing left), by the mean of logs over suites."""
    draws = Draws(task, 0, 0)
    areas: dict[float, float] = {}
    for rate, runs in by_rate(task, method).items():
        wide = fmean(float(gain(task, run, draws)[0]) for run in runs)
        left = [fmean(float(kept(task, run, draws, suite)[0]) for run in runs) for suite in task.entry["keep"]]
        areas[rate] = fmean(math.log(max(wide, NOTHING) * max(part, NOTHING)) for part in left)
    return max(areas, key=lambda rate: (areas[rate], -rate))


def point(task: Task, method: str, rate: float) -> Point:
    """What a method gained and lost at a rate, means over seeds."""
    draws, runs = Draws(task, 0, 0), by_rate(task, method)[rate]
    return Point(
        task=task.name,
        learning_rate=rate,
        seeds=len(runs),
        gain=round(task.shown[0] * fmean(float(gain(task, run, draws)[0]) for run in runs), 3),
        unit=task.entry["unit"],
        lost={
            suite: round(-100 * fmean(float(change(task, run, draws, suite)[0]) for run in runs), 2)
            for suite in task.entry["keep"]
        },
    )


def figure(task: str, suite: str, found: Ratio) -> Figure:
    """A ratio as it is shipped."""
    low, high = found.interval or (math.nan, math.nan)
    return Figure(
        task=task,
        kept=suite,
        ratio=round(found.value, 3),
        interval=(round(low, 3), round(high, 3)),
        differs=found.shown,
    )


def may_be_advised(plan: Plan, method: str, kind: str) -> bool:
    """A method that is a recipe, is given nothing of the kind that is measured, and has no flaw on a kind of model."""
    entry = plan.methods[method]
    recipe = entry.get("recipe", {})
    return method != LORA and bool(recipe) and SEEN not in recipe and kind not in entry.get("not_advised", {})


def fields_of(plan: Plan, method: str, kind: str) -> dict[str, Any]:
    """The fields of a recipe that make it this method."""
    entry = plan.methods[method]
    return {**entry["recipe"], **entry.get("of", {}).get(kind, {})}


def reads_keep(fields: dict[str, Any]) -> bool:
    """Tell whether a recipe's fields make it read text (or images) to keep."""
    recipe = Recipe(model="m", train="t", test="t", output="o", **fields)
    row = table.initialisations().get(recipe.method_name)
    return recipe.needs_keep_text or (row is not None and "keep" in row.reads)


def advice_part(known: Recommended) -> str:
    """The page's first section: what follows for a choice."""
    lines = [
        "## In short, by kind of model",
        "",
        (
            "The first by the geometric mean of its hypervolumes, of methods that need no data like those measured. "
            "`retain advise` says the same of your model."
        ),
        "",
    ]
    return "\n".join([*lines, kinds_part(known)])


def kinds_part(known: Recommended) -> str:
    """For each kind of model what is first and how sure that is, then the figures that it rests on."""
    parts = []
    for one in known.kinds:
        parts.append(f"**{one.kind.capitalize()}.** {' '.join(sentences(one))}")
        if one.best is not None:
            parts += [areas_table(one.best), points_table(one.best)]
    return "\n\n".join(parts)


def areas_table(best: Best) -> str:
    """The area of gain and retention as a ratio to tuned LoRA's, a task a row; bold where it is shown to differ."""
    known = {(one.task, one.kept): _ratio(one) for one in best.figures}
    return _table("area, times LoRA's [95 %]", dict.fromkeys(task for task, _ in known), known)


def points_table(best: Best) -> str:
    """What was gained and lost at the rate to begin with; where another learned most, also at that."""
    known: dict[tuple[str, str], str] = {}
    more = [one for one in best.most if one not in best.balanced]
    for one in (*best.balanced, *more):
        row = f"{one.task}, at {one.learning_rate:g}{', which learned most' if one in more else ''}"
        known[row, "gain"] = f"{one.gain:.2f} {one.unit}"
        known |= {(row, f"{suite}, points lost"): f"{lost:.1f}" for suite, lost in one.lost.items()}
        known[row, "seeds"] = str(one.seeds)
    return _table("task, at the rate to begin with", dict.fromkeys(row for row, _ in known), known)


def _ratio(one: Figure) -> str:
    told = f"{one.ratio:.2f}{written_interval(one.interval)}"
    return f"**{told}**" if one.differs else told


def _table(corner: str, rows: Iterable[str], known: Mapping[tuple[str, str], str]) -> str:
    """A Markdown table of what is known, by row and column; – where nothing is."""
    columns = tuple(dict.fromkeys(column for _, column in known))
    cells = [[corner, *columns], ["---"] * (len(columns) + 1)]
    cells += [[row, *(known.get((row, column), "–") for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
