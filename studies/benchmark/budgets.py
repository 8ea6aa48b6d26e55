"""The page's section on budgets: the share of the gain that is left at a certified limit, and whether limits held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from choose import best_rate
from evidence import Draws, Floats, Run, Task, by_rate, gain
from goal import written_ratio
from limits import CONFIDENCE, LIMITS, Budgets
from plan import LORA, Plan
from whole import DRAWS, ENOUGH_SEEDS, SEED, Ratio, Spread, ratio_of, with_holm

IMPOSSIBLE = "×"
POINTS = " / ".join(f"{100 * limit:g}" for limit in LIMITS)

Chosen = dict[str, float]
"""The rate that was chosen of each method whose rates were all tried."""


def budgets_part(plan: Plan, tasks: Sequence[Task], records: Path) -> str:
    """The section; empty where no task has a method whose rates were all tried."""
    parts, checks = [], []
    for task in tasks:
        found = {name: best_rate(plan, records, task.name, name) for name in plan.methods if by_rate(task, name)}
        chosen = {name: rate for name, rate in found.items() if rate is not None}
        budgets = Budgets(task)
        checks += checks_rows(budgets)
        if chosen:
            parts.append(f"### {task.name}\n\n{shares_table(plan, budgets, chosen)}")
    if not parts:
        return ""
    return "\n\n".join(
        ["## Budgets: what is left of the gain at a certified limit", told(), *parts, checks_part(checks)]
    )


def told() -> str:
    """How the figures are made."""
    return (
        "The items of each suite are parted by hashes of group or place (`limits.py`) into two halves: one certifies, "
        "the other, which no certificate sees, reports; then they change places, and figures are means of both. A "
        "method's rates are "
        "tested from the weakest on, each with the exact test of "
        f"[`retain --budget`](../../docs/concepts/budget.md) ({100 * CONFIDENCE:g} % confidence; of items in "
        "groups the betting test over groups), until one fails; of those that passed the best on validation items"
        " is taken, else the base, with a gain of 0. Each seed of the chosen rate goes with its own run at each "
        "other rate, or with the first seed's where it has none. *All suites*: each of them keeps the limit. "
        f"{IMPOSSIBLE}: half a suite has too few items to certify this limit for a model that lost nothing."
    )


def shares_table(plan: Plan, budgets: Budgets, chosen: Chosen) -> str:
    """Each method's gain at each limit, as a share of what it gains without one, and by LoRA's at the same limit."""
    several = [(name,) for name in budgets.suites] if len(budgets.suites) > 1 else []
    sets = [budgets.suites, *several]
    names = ["all suites" if several else budgets.suites[0], *(one[0] for one in several)]
    possible = {limit: budgets.possible(budgets.suites, limit) for limit in LIMITS}
    draws, once = (Draws(budgets.task, number, SEED) for number in (DRAWS, 1))
    ratios = {limit: ratios_at(budgets, chosen, limit, draws) for limit in LIMITS if possible[limit]}
    lines = [
        (
            f"Percent of the method's own gain that is left at {POINTS} points; then the gain at a limit on "
            f"{names[0]} by LoRA's at the same."
        ),
        "",
        "| method | " + " | ".join(names) + "".join(f" | by LoRA's, {100 * limit:g} points" for limit in ratios) + " |",
        "|---" * (1 + len(names) + len(ratios)) + "|",
    ]
    for method, rate in chosen.items():
        own = fmean(float(gain(budgets.task, run, once)[0]) for run in by_rate(budgets.task, method)[rate])
        cells = [plan.title(method)]
        for suites in sets:
            shares = [share(budgets, method, rate, suites, limit, own, once) for limit in LIMITS]
            cells.append(" / ".join(shares) + (" %" if any(one != IMPOSSIBLE for one in shares) else ""))
        cells += ["1" if method == LORA else shown(ratios[limit].get(method)) for limit in ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share(
    budgets: Budgets, method: str, rate: float, suites: Sequence[str], limit: float, own: float, draws: Draws
) -> str:
    """What is left of a gain, in percent; nothing where there was none."""
    if not budgets.possible(suites, limit):
        return IMPOSSIBLE
    left = float(gains(budgets, budgets.taken(method, rate, suites, limit), draws)[:, 0].mean())
    return "–" if own <= 0 else f"{100 * left / own:.0f}"


def gains(budgets: Budgets, taken: Sequence[Sequence[Run | None]], draws: Draws) -> Floats:
    """(seeds, draws) what is gained of test items with what was taken, the mean over both halves; 0 with the base."""
    nothing = np.zeros(1 + draws.number)
    found = [[nothing if run is None else gain(budgets.task, run, draws) for run in own] for own in taken]
    over_halves: Floats = np.asarray(found).mean(axis=1)
    return over_halves


def ratios_at(budgets: Budgets, chosen: Chosen, limit: float, draws: Draws) -> dict[str, Ratio]:
    """Each method's gain at a limit on all suites by LoRA's, with the interval over items and seeds.

    There is none where fewer than three different runs are taken: the seeds then went with one and the same run of a
    rate that has a single seed.
    """
    if LORA not in chosen:
        return {}
    found: dict[str, Floats] = {}
    different: dict[str, int] = {}
    for index, (method, rate) in enumerate(chosen.items()):
        taken = budgets.taken(method, rate, budgets.suites, limit)
        own, generator = gains(budgets, taken, draws), np.random.default_rng([SEED, index])
        found[method] = own.mean(axis=0) + Spread.of(own, generator).drawn(len(own))
        different[method] = len({run.cell for runs in taken for run in runs if run is not None})
    ratios = {
        name: {"gain": ratio_of(own, found[LORA], few=min(different[name], different[LORA]) < ENOUGH_SEEDS)}
        for name, own in found.items()
        if name != LORA
    }
    return {name: own["gain"] for name, own in with_holm({"": ratios})[""].items()}


def shown(found: Ratio | None) -> str:
    """A ratio; bold where it differs from 1 after Holm over the methods."""
    if found is None:
        return "–"
    if not np.isfinite(found.value):
        return "LoRA: 0"
    text = written_ratio(found)
    return f"**{text}**" if found.shown else text


def checks_rows(budgets: Budgets) -> list[str]:
    """For each suite and limit of a task, how often what was certified was exceeded on the other half."""
    rows = []
    for suite in budgets.suites:
        for limit in LIMITS:
            if budgets.possible((suite,), limit):
                tested, held, above, beyond = budgets.checked(suite, limit)
                counts = f"{held} of {tested} | {above} | {beyond}"
                rows.append(f"| {budgets.task.name}, {suite} | {100 * limit:g} | {counts} |")
    return rows


def checks_part(rows: Sequence[str]) -> str:
    """The table of how often certified limits were exceeded."""
    return "\n".join(
        [
            "### Did the limits hold?",
            "",
            (
                "Every run of every rate, each half in turn. A certificate is about what the model loses of such "
                "items, not about the other half's own figure, which scatters: a true loss just below a limit is "
                "above it in nearly half of all halves. So the last column counts those that a test at 95 % shows"
                " to be above the limit. Runs of a task share their items, so the counts are not independent."
            ),
            "",
            "| suite | limit, points | certified | of these above it on the other half | shown to be |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
