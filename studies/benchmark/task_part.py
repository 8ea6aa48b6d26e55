"""The page's section on one task: its base, its methods one by one, and each against tuned LoRA."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from choose import best_rate
from collect import values
from evidence import (
    TEST,
    TEXT,
    VALIDATION,
    WINDOWS,
    Draws,
    Run,
    Task,
    base_level,
    by_rate,
    change,
    gain,
    methods_of,
    metric_of,
    text_kl,
)
from goal import Found, written_ratio
from plan import BETWEEN, LORA, Plan
from predictors import movement
from whole import ENOUGH_SEEDS, LEVELS, Ratio

from retain.compare.aggregate import student_interval
from retain.compare.trade_off import MARGIN, safe_band
from retain.records.base import Interval

ONCE = 1
"""Draws where only the figure itself is wanted: all items once (and one resample, which nobody looks at)."""


def task_parts(plan: Plan, task: Task, records: Path, found: Found) -> list[str]:
    """The sections of one task: what it is, its methods one by one, and against LoRA."""
    methods = methods_of(plan, task)
    head = [f"## {task.entry['title'][0].upper()}{task.entry['title'][1:]}", "", str(task.entry["about"]).strip()]
    head += ["", bases(task)]
    for picture in plan.pictures_of(task.name, methods):
        about = f"{picture.about}: " if picture.about else ""
        head += ["", f"![{about}gain on the task against what was kept, every run]({picture.file})"]
        head += ["", f"*{picture.about[0].upper()}{picture.about[1:]}.*"] if picture.about else []
    parts = ["\n".join(head), methods_table(plan, task, methods, records), chosen_by(plan, task, methods, records)]
    return [*parts, ratios_table(plan, task, methods, found), levels_table(plan, task, methods, found)]


def bases(task: Task) -> str:
    """What the base scores, and of how many items; how many choose the learning rate."""
    run = next(iter(task.runs.values()))
    draws = Draws(task, ONCE, 0)
    few = len(task.places(VALIDATION))
    told = [
        f"task {written(base_level(task, draws), task)} ({len(task.places(TEST))} items; {few} others choose rates)"
    ]
    for name in task.entry["keep"]:
        right, _ = run.pair(f"keep:{name}", metric_of(run, name))
        chance = next(score.chance for score in run.result.keep if score.name == name)
        share = 100 * float(draws.mean(right, f"keep:{name}")[0])
        told.append(f"{name} {share:.1f} % ({counted(task, f'keep:{name}')}, guessing {100 * chance:.0f} %)")
    if task.domains:
        tokens = task.weights(WINDOWS)
        told.append(f"other text: {tokens.sum():,.0f} tokens in {len(tokens)} windows ({', '.join(task.domains)})")
    return f"The base: {'; '.join(told)}."


def counted(task: Task, suite: str) -> str:
    """How many items a suite has, and how many groups they come in."""
    scores = next(iter(next(iter(task.runs.values())).columns[suite].values()))["base"]
    there = [unit for unit, score in zip(task.units(suite), values(scores), strict=True) if score is not None]
    groups, left_out = len(set(there)), len(scores) - len(there)
    told = f"{len(there)} items" if groups == len(there) else f"{len(there)} items in {groups} groups"
    return f"{told}, {left_out} left out" if left_out else told


def methods_table(plan: Plan, task: Task, methods: Sequence[str], records: Path) -> str:
    """Each method at the rate chosen on validation items: means over seeds, ± Student's 95 % half-width from 3 on."""
    keep = list(task.entry["keep"])
    shown = [
        "method",
        "rate",
        "seeds",
        f"gain, {task.entry['unit']}",
        f"under shift ({' / '.join([*task.shifts, *task.spoilt])})",
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
        scale, digits = task.shown
        cells = [
            plan.title(method),
            f"{chosen:g} {plan.end_of_sweep(task.name, method, chosen)}".rstrip(),
            str(len(runs)),
        ]
        cells.append(spread([scale * float(gain(task, run, draws)[0]) for run in runs], digits=digits))
        cells.append(" / ".join(_shifted(task, runs, draws)) or "–")
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


def chosen_by(plan: Plan, task: Task, methods: Sequence[str], records: Path) -> str:
    """What validation items said of each rate: how narrowly the one was chosen."""
    draws, told = Draws(task, ONCE, 0), []
    for method in methods:
        rates = by_rate(task, method)
        if best_rate(plan, records, task.name, method) is None:
            continue
        first = [float(gain(task, runs[0], draws, VALIDATION)[0]) for runs in rates.values()]
        scale, digits = task.shown
        told.append(f"{plan.title(method)} {' / '.join(f'{scale * one:.{digits}f}' for one in first)}")
    if not told:
        return ""
    unit = task.entry["unit"]
    return (
        f"Gain on the {len(task.places(VALIDATION))} validation items, {unit}, rates rising, seed 0: {'; '.join(told)}."
    )


def ratios_table(plan: Plan, task: Task, methods: Sequence[str], found: Found) -> str:
    """Hypervolume and what is kept at equal gain, as ratios to tuned LoRA's."""
    if not any(found.values()):
        return "Nothing is compared yet: it takes runs of LoRA and of another method."
    lines = ["As ratios to tuned LoRA's (above 1 is better, but of KL at equal gain below 1).", ""]
    lines += [
        "| method | "
        + " | ".join(f"hypervolume, {name}" for name in task.kept)
        + " | "
        + " | ".join(f"{'KL' if name == TEXT else name + ' kept'} at equal gain" for name in task.kept)
        + " |"
    ]
    lines.append("|---" * (1 + 2 * len(task.kept)) + "|")
    for method in methods:
        if method in (LORA, BETWEEN):
            continue
        cells = [plan.title(method)]
        for figure in ("hypervolume", "matched"):
            cells += [ratio(found[suite].get(method, {}).get(figure)) for suite in task.kept]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def levels_table(plan: Plan, task: Task, methods: Sequence[str], found: Found) -> str:
    """What is kept at equal gains below the largest, and areas by straight lines: what the figures hang on."""
    rows = []
    for method in methods:
        for suite in task.kept:
            own = found[suite].get(method, {}) if suite in found else {}
            area, level = own.get("hypervolume"), own.get("matched")
            if area is None or area.lines is None:
                continue
            kept = [None] * (len(LEVELS) + 1) if level is None else [*level.levels, level.value]
            values_ = (*kept, area.lines, area.worst)
            cells = ["–" if one is None or not math.isfinite(one) else f"{one:.2f}" for one in values_]
            rows.append(f"| {plan.title(method)} | {suite} | {' | '.join(cells)} |")
    if not rows:
        return ""
    among = f", {plan.title(BETWEEN)} among them" if BETWEEN in methods else ""
    heads = [f"at {share:.0%}" for share in (*LEVELS, 1.0)]
    told = (
        "How far this depends on the level and on where the rates were put: what is kept (for text the KL) by LoRA's "
        "at shares of the largest gain that both reach, where LoRA has any; hypervolume on straight lines between "
        "neighbouring rates; and hypervolume at worst, if LoRA between two of its rates gained what the better of both "
        f"gains and kept what the better keeps{among}."
    )
    head = f"| method | kept | {' | '.join(heads)} | hypervolume by lines | at worst |"
    return "\n".join([told, "", head, "|---" * (5 + len(LEVELS)) + "|", *rows])


def ratio(found: Ratio | None) -> str:
    """A ratio with its interval; bold where it is shown to differ from 1."""
    if found is None or math.isnan(found.value):
        return "–"
    if math.isinf(found.value):
        return "LoRA: 0"
    text = written_ratio(found)
    return f"**{text}**" if found.shown else text


def spread(values: Sequence[float], *, digits: int = 1, signed: bool = False) -> str:
    """A mean, with the half-width of its interval over seeds where there are enough of them."""
    interval: Interval | None = student_interval(values) if len(values) >= ENOUGH_SEEDS else None
    mean = f"{fmean(values):{'+' if signed else ''}.{digits}f}"
    return mean if interval is None else f"{mean} ± {(interval[1] - interval[0]) / 2:.{digits}f}"


def written(value: float, task: Task) -> str:
    """A score of the task in its unit."""
    return f"{value:.2f} {task.entry['unit']}" if task.entry["unit"].startswith("nats") else f"{100 * value:.1f} %"


def _shifted(task: Task, runs: Sequence[Run], draws: Draws) -> list[str]:
    scale, digits = task.shown
    found = [[gain(task, run, draws, name)[0] for run in runs] for name in task.shifts]
    found += [[change(task, run, draws, name)[0] for run in runs] for name in task.spoilt]
    return [f"{scale * fmean(map(float, gains)):.{digits}f}" for gains in found]


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
