"""The page README.md and its figure, from the records alone: python studies/relatives/relatives_page.py.

No model is loaded. The tables and the figure are those of the benchmark.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from statistics import fmean

from relatives_plan import HERE, KIND, RECORDS, TASK, read_plan

from choose import best_rate  # isort: skip -- of the benchmark, which relatives_plan makes known
from evidence import Run, Task, by_rate, methods_of, read_tasks  # isort: skip -- likewise
from figures import draw_task  # isort: skip -- likewise
from page import ratios_of  # isort: skip -- likewise
from plan import Plan  # isort: skip -- likewise
from task_part import bases, levels_table, methods_table, ratios_table  # isort: skip -- likewise


def main() -> int:
    """Write the page and its figure; 1 where there is no record yet."""
    plan = read_plan()
    tasks = read_tasks(plan, RECORDS)
    if not tasks:
        print("no record yet: python studies/relatives/run.py")
        return 1
    (HERE / "README.md").write_text(page(plan, tasks[TASK]), encoding="utf-8")
    draw_task(plan, tasks[TASK], methods_of(plan, tasks[TASK]), HERE / f"{TASK}.png")
    return 0


def page(plan: Plan, task: Task) -> str:
    """The whole page."""
    methods = methods_of(plan, task)
    found = ratios_of(plan, task)
    parts = [
        (HERE / "introduction.txt").read_text(encoding="utf-8").rstrip(),
        progress(plan, task),
        f"## What was learned, and what was kept\n\n{bases(task)}",
        f"![gain on the task against what was kept, every run]({TASK}.png)",
        methods_table(plan, task, methods, RECORDS),
        ratios_table(plan, task, methods, found),
        levels_table(plan, task, methods, found),
        every_rate(plan, task, methods),
        shapes(plan, task, methods),
    ]
    return "\n\n".join(parts) + "\n"


def progress(plan: Plan, task: Task) -> str:
    """How many runs there are of how many planned, from which days, and what they cost."""
    runs = [run.result for run in task.runs.values()]
    days = sorted({result.provenance.created[:10] for result in runs})
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    spent = [result.cost.train_seconds + result.cost.measure_seconds for result in runs]
    told = f"{len(runs)} of {plan.planned(TASK)} runs, of {span}; a run took {fmean(spent):.0f} s in the mean, on one "
    return f"{told}core of a machine that many others shared. Methods that are missing below have no run yet."


def every_rate(plan: Plan, task: Task, methods: Sequence[str]) -> str:
    """Gain and drift at every rate with seed 0, which is what the rates were chosen from."""
    lines = ["## Every rate, seed 0", "", "| method | rate | gain, nats per token | KL on other text, nats | chosen |"]
    lines.append("|---" * 5 + "|")
    for method in methods:
        best = best_rate(plan, RECORDS, TASK, method)
        for rate, runs in by_rate(task, method).items():
            result = runs[0].result
            cells = [_gain(result.task[0].base, result.task[0].tuned), _number(result.drift.kl_nats_per_token, 3)]
            lines.append(f"| {plan.title(method)} | {rate:g} | {' | '.join(cells)} | {'yes' if rate == best else ''} |")
    missing = [plan.title(name) for name in plan.methods if len(by_rate(task, name)) < len(plan.rates(TASK, name))]
    told = f"\n\nNot all rates were run yet: {', '.join(missing)}." if missing else ""
    return "\n".join(lines) + f"\n\nOf all {KIND} items of the test data, validation and shift among them." + told


def shapes(plan: Plan, task: Task, methods: Sequence[str]) -> str:
    """What the updates look like at the chosen rate (or else the middle one that was run)."""
    lines = ["## What the updates look like", ""]
    lines.append("Means over the seeds of the chosen rate, or of the middle one where none is chosen yet.")
    lines += [
        "",
        "| method | rate | trained | untouched, bit for bit | size beside the weights | intruders | seconds a step |",
    ]
    lines.append("|---" * 7 + "|")
    for method in methods:
        rates = by_rate(task, method)
        rate = best_rate(plan, RECORDS, TASK, method) or sorted(rates)[len(rates) // 2]
        runs = rates[rate]
        untouched = _mean(runs, lambda run: run.result.drift.untouched)
        of = _mean(runs, lambda run: run.result.drift.untouched_of)
        share = "–" if untouched is None or not of else f"{100 * untouched / of:.1f} %"
        intruders = _mean(runs, lambda run: run.result.drift.intruders)
        cells = [
            plan.title(method),
            f"{rate:g}",
            f"{runs[0].result.parameters.trainable:,}",
            share,
            _number(_mean(runs, lambda run: run.result.drift.update_relative_frobenius), 4),
            "–" if intruders is None else f"{intruders:.1f} of {runs[0].result.drift.intruders_of}",
            _number(_mean(runs, lambda run: run.result.cost.step_seconds_median), 1),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(runs: Sequence[Run], pick: Callable[[Run], float | None]) -> float | None:
    found = [value for run in runs if (value := pick(run)) is not None]
    return fmean(found) if found else None


def _gain(base: float | None, tuned: float | None) -> str:
    return "–" if base is None or tuned is None else f"{base - tuned:.2f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
