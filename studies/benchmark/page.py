"""The page README.md and its figures, from the records alone: python studies/benchmark/page.py. No model is loaded.

What follows from the records elsewhere is written with it: the advice that retain ships, and the parts of README and
guide that say the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from advice import advice_part, kinds_part, recommended
from budgets import budgets_part
from choose import best_rate
from evidence import Draws, Task, methods_of, read_tasks
from figures import draw_front, draw_predictors, draw_task
from front import caption
from goal import Found, goal_part
from measures_part import predictors_part, shapes_part
from objections import objections_part
from plan import LORA, Plan, read_plan
from sharper import sharpened
from task_part import task_parts
from whole import DRAWS, SEED, compared
from written import write_part

from retain.records.files import write_text
from retain.records.recommended import SHIPPED, Recommended

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INTRODUCTION, EARLIER = HERE / "introduction.txt", HERE / "earlier.txt"
GUIDE, FRONT, PICTURE = ROOT / "docs/guides/advise.md", ROOT / "README.md", ROOT / "docs/figures/trade-off.png"
ADVICE, CAPTION = "advice", "picture"
"""Parts of the guide and of the repository's README that are made from the records."""


def main() -> None:
    """Write the page and its figures; unless it goes elsewhere, also what follows from the records elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=Path, default=HERE / "records")
    parser.add_argument("--into", type=Path, default=HERE)
    parser.add_argument("--no-figures", action="store_true", help="the text alone")
    asked = parser.parse_args()
    plan = read_plan()
    tasks = read_tasks(plan, asked.records)
    found = {name: ratios_of(plan, task) for name, task in tasks.items()}
    known = recommended(plan, tasks, found, asked.records)
    write_text(asked.into / "README.md", page(plan, tasks, asked.records, found, known))
    here = asked.into == HERE
    if here:
        write_text(SHIPPED, known.model_dump_json(indent=2) + "\n")
        write_part(GUIDE, ADVICE, kinds_part(known))
        write_part(FRONT, CAPTION, caption(plan, tasks, found))
    if not asked.no_figures:
        draw(plan, tasks, asked.into, PICTURE if here else asked.into / PICTURE.name)


def draw(plan: Plan, tasks: dict[str, Task], into: Path, front: Path) -> None:
    """Draw all figures that have something to show."""
    for task in tasks.values():
        for picture in plan.pictures_of(task.name, methods_of(plan, task)):
            draw_task(plan, task, picture.methods, into / picture.file)
    if tasks:
        draw_predictors(tasks, into / "predictors.png")
        draw_front(plan, tasks, front)


def page(plan: Plan, tasks: dict[str, Task], records: Path, found: dict[str, Found], known: Recommended) -> str:
    """The whole page; sections that would be empty are left out."""
    parts = [INTRODUCTION.read_text(encoding="utf-8").rstrip(), advice_part(known), progress(plan, tasks, records)]
    parts.append(goal_part(plan, list(tasks.values()), found))
    for task in tasks.values():
        parts += task_parts(plan, task, records, found[task.name])
    parts += [
        budgets_part(plan, list(tasks.values()), records),
        predictors_part(tasks),
        shapes_part(plan, tasks, records),
    ]
    parts += [objections_part(plan, tasks, records), EARLIER.read_text(encoding="utf-8").rstrip(), methods_part(plan)]
    return "\n\n".join(filter(None, parts)) + "\n"


def ratios_of(plan: Plan, task: Task) -> Found:
    """Of everything that is kept, each method's figures as ratios to tuned LoRA's."""
    methods = methods_of(plan, task)
    draws = Draws(task, DRAWS, SEED)
    if LORA not in methods:
        return {}
    return sharpened(task, {suite: compared(task, methods, suite, draws) for suite in task.kept}, DRAWS)


def progress(plan: Plan, tasks: dict[str, Task], records: Path) -> str:
    """How many runs there are of how many planned, from which commits and days, and what they cost."""
    lines = [
        "## Runs so far",
        "",
        "The main runs come first; the further ones are for whoever has more time, or a GPU.",
        "",
        "| task | main runs | further runs | commits | days | processor time a run, s |",
        "|---|---|---|---|---|---|",
    ]
    main = plan.main
    wanted = set(main.cells(lambda task, method: best_rate(plan, records, task, method)))
    for name, entry in plan.tasks.items():
        runs = list(tasks[name].runs.values()) if name in tasks else []
        commits = ", ".join(dict.fromkeys(str(run.facts["commit"]) for run in runs)) or "–"
        days = sorted({run.result.provenance.created[:10] for run in runs})
        span = "–" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        costs = [float(run.facts["cpu_seconds"]) for run in runs]
        cost = f"{np.median(costs):.0f}" if costs else "–"
        done, planned = sum(run.cell in wanted for run in runs), main.planned(name)
        told = f"{done} of {planned} | {len(runs) - done} of {plan.planned(name) - planned}"
        lines.append(f"| {entry['title']} | {told} | {commits} | {span} | {cost} |")
    return "\n".join(lines)


def methods_part(plan: Plan) -> str:
    """What each method is."""
    lines = ["## Methods", ""]
    for entry in plan.methods.values():
        told = f": {entry['about']}" if entry.get("about") else ""
        lines.append(f"* **{entry['title']}**{told}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
