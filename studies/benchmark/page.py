"""The page README.md and its figures, from the records alone: python studies/benchmark/page.py. No model is loaded."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from choose import best_rate
from evidence import TEST, TEXT, Draws, Run, Task, by_rate, change, gain, metric_of, read_tasks, text_kl
from figures import draw_predictors, draw_task
from goal import Found, goal_part, written_ratio
from plan import LORA, Plan, read_plan
from predictors import PREDICTORS, correlations, movement
from whole import ENOUGH_SEEDS, Ratio, compared

from retain.compare.aggregate import student_interval
from retain.compare.trade_off import MARGIN, safe_band
from retain.records.base import Interval

HERE = Path(__file__).parent
INTRODUCTION = HERE / "introduction.txt"
ONCE = 1
"""Draws where only the figure itself is wanted: all items once (and one resample, which nobody looks at)."""


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=HERE / "records")
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--no-figures", action="store_true", help="the text alone")
    asked = parser.parse_args()
    plan = read_plan()
    tasks = read_tasks(plan, asked.records)
    (asked.into / "README.md").write_text(page(plan, tasks, asked.records), encoding="utf-8")
    if not asked.no_figures:
        for task in tasks.values():
            draw_task(plan, task, asked.into / f"{task.name}.png")
        if tasks:
            draw_predictors(tasks, asked.into / "predictors.png")


def page(plan: Plan, tasks: dict[str, Task], records: Path) -> str:
    """The whole page."""
    parts = [INTRODUCTION.read_text(encoding="utf-8").rstrip(), progress(plan, tasks)]
    found = {name: ratios_of(plan, task) for name, task in tasks.items()}
    if tasks:
        parts.append(goal_part(plan, list(tasks.values()), found))
    for task in tasks.values():
        parts += task_parts(plan, task, records, found[task.name])
    if tasks:
        parts += [predictors_part(tasks), shapes_part(plan, tasks, records)]
    parts.append(methods_part(plan))
    return "\n\n".join(parts) + "\n"


def progress(plan: Plan, tasks: dict[str, Task]) -> str:
    """How many runs there are of how many planned, from which commits and days, and what they cost."""
    lines = [
        "## Runs so far",
        "",
        "| task | runs of planned | commits | days | processor time a run, s |",
        "|---|---|---|---|---|",
    ]
    for name, entry in plan.tasks.items():
        runs = list(tasks[name].runs.values()) if name in tasks else []
        commits = ", ".join(dict.fromkeys(str(run.facts["commit"]) for run in runs)) or "–"
        days = sorted({run.result.provenance.created[:10] for run in runs})
        span = "–" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        costs = [float(run.facts["cpu_seconds"]) for run in runs]
        cost = f"{np.median(costs):.0f}" if costs else "–"
        lines.append(f"| {entry['title']} | {len(runs)} of {plan.planned(name)} | {commits} | {span} | {cost} |")
    return "\n".join(lines)


def ratios_of(plan: Plan, task: Task) -> dict[str, dict[str, dict[str, Ratio]]]:
    """Of everything that is kept, each method's figures as ratios to tuned LoRA's."""
    methods = methods_of(plan, task)
    return {suite: compared(task, methods, suite) for suite in task.kept} if LORA in methods else {}


def methods_of(plan: Plan, task: Task) -> list[str]:
    """The methods that have runs."""
    return [name for name in plan.methods if by_rate(task, name)]


def task_parts(plan: Plan, task: Task, records: Path, found: Found) -> list[str]:
    """The sections of one task: what it is, its methods one by one, and against LoRA."""
    methods = methods_of(plan, task)
    head = [f"## {task.entry['title'][0].upper()}{task.entry['title'][1:]}", "", str(task.entry["about"]).strip()]
    head += ["", bases(task), "", f"![gain on the task against what was kept, every run]({task.name}.png)"]
    return ["\n".join(head), methods_table(plan, task, methods, records), ratios_table(plan, task, methods, found)]


def bases(task: Task) -> str:
    """What the base scores, and of how many items."""
    run = next(iter(task.runs.values()))
    draws = Draws(task, ONCE, 0)
    base, _ = run.pair(task.test_suite, task.metric)
    mean = float(draws.mean(base, task.test_suite, task.places(TEST))[0])
    told = [f"task {written(mean, task)} ({len(task.places(TEST))} items)"]
    for name in task.entry["keep"]:
        right, _ = run.pair(f"keep:{name}", metric_of(run, name))
        chance = next(score.chance for score in run.result.keep if score.name == name)
        share = 100 * float(draws.mean(right, f"keep:{name}")[0])
        told.append(f"{name} {share:.1f} % ({len(right)} items, guessing {100 * chance:.0f} %)")
    return f"The base: {'; '.join(told)}."


def methods_table(plan: Plan, task: Task, methods: Sequence[str], records: Path) -> str:
    """Each method at the rate chosen on validation items: means over seeds, ± Student's 95 % half-width from 3 on."""
    keep = list(task.entry["keep"])
    shown = [
        "method",
        "rate",
        "seeds",
        f"gain, {task.entry['unit']}",
        f"under shift ({' / '.join(task.shifts)})",
        *keep,
    ]
    shown += ["KL near / far, nats", "F_Δ"] if task.domains else ["F_Δ"]
    shown += ["safe rates", "verdicts"]
    lines = ["| " + " | ".join(shown) + " |", "|---" * len(shown) + "|"]
    draws = Draws(task, ONCE, 0)
    for method in methods:
        rates = by_rate(task, method)
        chosen = best_rate(plan, records, task.name, method)
        if chosen is None:
            lines.append(f"| {plan.title(method)} | {len(rates)} of 3 tried |" + " |" * (len(shown) - 2))
            continue
        runs = rates[chosen]
        scale = 1.0 if task.entry["unit"].startswith("nats") else 100.0
        cells = [plan.title(method), f"{chosen:g}", str(len(runs))]
        cells.append(spread([scale * float(gain(task, run, draws)[0]) for run in runs], digits=2 if scale == 1 else 1))
        cells.append(" / ".join(_shifted(task, runs, draws, scale)) or "–")
        cells += [
            spread([100 * float(change(task, run, draws, name)[0]) for run in runs], signed=True) for name in keep
        ]
        if task.domains:
            cells.append(" / ".join(_kl(task, runs, draws, near=near) for near in (True, False)))
        cells.append(_mean_of(runs, movement))
        cells.append(f"{_safe(task, rates, keep, draws)} of {len(rates)}")
        overall = Counter(run.result.judgement.overall for run in runs if run.result.judgement is not None)
        cells.append(", ".join(f"{word} {count}" for word, count in sorted(overall.items())) or "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios_table(plan: Plan, task: Task, methods: Sequence[str], found: Found) -> str:
    """Hypervolume and what is kept at equal gain, as ratios to tuned LoRA's."""
    if not found:
        return "Nothing is compared yet: LoRA has no runs."
    lines = ["As ratios to tuned LoRA's (hypervolume: above 1 is better; KL at equal gain: below 1 is better).", ""]
    lines += [
        "| method | "
        + " | ".join(f"hypervolume, {name}" for name in task.kept)
        + " | "
        + " | ".join(f"{'KL' if name == TEXT else name + ' kept'} at equal gain" for name in task.kept)
        + " |"
    ]
    lines.append("|---" * (1 + 2 * len(task.kept)) + "|")
    for method in methods:
        if method == LORA:
            continue
        cells = [plan.title(method)]
        for figure in ("hypervolume", "matched"):
            cells += [ratio(found[suite].get(method, {}).get(figure)) for suite in task.kept]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratio(found: Ratio | None) -> str:
    """A ratio with its interval; bold where it differs from 1 after Holm over the methods."""
    if found is None or math.isnan(found.value):
        return "–"
    if math.isinf(found.value):
        return "LoRA: 0"
    text = written_ratio(found)
    return f"**{text}**" if found.adjusted is not None and found.adjusted < 0.05 else text


def predictors_part(tasks: dict[str, Task]) -> str:
    """What goes with what was lost, over all runs of a task."""
    lines = ["## What goes with what was lost", ""]
    lines.append("Rank correlation of the mean points lost over the suites with each measure, over all runs of a task.")
    lines += ["", "| task | runs | " + " | ".join(PREDICTORS) + " |", "|---" * (2 + len(PREDICTORS)) + "|"]
    for task in tasks.values():
        row = correlations(task)
        cells = ["–" if row.values[name] is None else f"{row.values[name]:.2f}" for name in PREDICTORS]
        lines.append(f"| {task.entry['title']} | {row.runs} | " + " | ".join(cells) + " |")
    return "\n".join(
        [
            *lines,
            "",
            "![points lost over KL on the new task's inputs, over KL on other text, and over F_Δ](predictors.png)",
        ]
    )


def shapes_part(plan: Plan, tasks: dict[str, Task], records: Path) -> str:
    """What each method's update looks like at its chosen rate, in each task."""
    names = list(tasks)
    lines = [
        "## What the updates look like",
        "",
        "At the chosen rates, means over seeds: the share of the ten leading left",
    ]
    lines[-1] += (
        " singular vectors that the base does not have (intruders) / the share of the update outside the base's"
    )
    lines[-1] += " column space, in layers that are tall. Of 12 layers, spread evenly. The papers' claims are in"
    lines[-1] += " [claims](../../docs/claims.md)."
    lines += ["", "| method | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for method in plan.methods:
        cells = []
        for name, task in tasks.items():
            rates = by_rate(task, method)
            chosen = best_rate(plan, records, name, method) if rates else None
            cells.append("–" if chosen is None else _shape(rates[chosen]))
        if set(cells) != {"–"}:
            lines.append(f"| {plan.title(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shape(runs: Sequence[Run]) -> str:
    drifts = [run.result.drift for run in runs]
    shares = [one.intruders / one.intruders_of for one in drifts if one.intruders is not None and one.intruders_of]
    leaks = [one.column_leak for one in drifts if one.column_leak is not None]
    return " / ".join(f"{100 * fmean(found):.1f} %" if found else "–" for found in (shares, leaks))


def methods_part(plan: Plan) -> str:
    """What each method is."""
    lines = ["## Methods", ""]
    for entry in plan.methods.values():
        told = f": {entry['about']}" if entry.get("about") else ""
        lines.append(f"* **{entry['title']}**{told}.")
    return "\n".join(lines)


def spread(values: Sequence[float], *, digits: int = 1, signed: bool = False) -> str:
    """A mean, with the half-width of its interval over seeds where there are enough of them."""
    interval: Interval | None = student_interval(values) if len(values) >= ENOUGH_SEEDS else None
    mean = f"{fmean(values):{'+' if signed else ''}.{digits}f}"
    return mean if interval is None else f"{mean} ± {(interval[1] - interval[0]) / 2:.{digits}f}"


def written(value: float, task: Task) -> str:
    """A score of the task in its unit."""
    return f"{value:.2f} {task.entry['unit']}" if task.entry["unit"].startswith("nats") else f"{100 * value:.1f} %"


def _shifted(task: Task, runs: Sequence[Run], draws: Draws, scale: float) -> list[str]:
    return [
        f"{scale * fmean(float(gain(task, run, draws, name)[0]) for run in runs):.{2 if scale == 1 else 1}f}"
        for name in task.shifts
    ]


def _kl(task: Task, runs: Sequence[Run], draws: Draws, *, near: bool) -> str:
    chosen = [name for name in task.domains if (name in task.entry["near"]) == near]
    return f"{fmean(float(text_kl(task, run, draws, chosen)[0]) for run in runs):.3f}"


def _mean_of(runs: Sequence[Run], pick: Callable[[Run], float | None]) -> str:
    found = [value for run in runs if (value := pick(run)) is not None]
    return f"{fmean(found):.4f}" if found else "–"


def _safe(task: Task, rates: dict[float, list[Run]], keep: Sequence[str], draws: Draws) -> int:
    """How many rates lost no more than two points of any suite, by the mean over seeds."""
    safe = [
        all(
            safe_band([rate] * len(runs), [float(change(task, run, draws, name)[0]) for run in runs], MARGIN)
            for name in keep
        )
        for rate, runs in rates.items()
    ]
    return sum(safe)


if __name__ == "__main__":
    main()
