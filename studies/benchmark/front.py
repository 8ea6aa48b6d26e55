"""The picture at the front of the repository's README: which runs it shows, and what is said under it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evidence import TEXT, Run, Task, by_rate
from goal import Found
from plan import LORA, Plan
from whole import LEVELS, SWEPT, Ratio

SHOWN = (LORA, "sc-lora", "lora-kl", "lora-replay", "vefa", "full")
"""Methods in the picture, as far as all their rates were tried: no more than can be told apart."""

TASK, TOLD = "tickets", ("sc-lora", "lora-kl")
"""What the caption speaks of: the task, and the methods whose KL it tells."""

HIGH = 0.9
"""Lower gains are of no interest: nobody stops there."""


def curves(plan: Plan, task: Task) -> dict[str, list[list[Run]]]:
    """The runs of each method that is shown, rate by rate."""
    found = {name: list(by_rate(task, name).values()) for name in SHOWN if name in plan.methods}
    return {name: runs for name, runs in found.items() if len(runs) == SWEPT}


def caption(plan: Plan, tasks: Mapping[str, Task], found: Mapping[str, Found]) -> str:
    """What is said under the picture."""
    if TASK not in tasks:
        return ""
    shown = curves(plan, tasks[TASK])
    seeds = sorted({max(map(len, runs)) for runs in shown.values()})
    names = _listed([plan.title(name) for name in shown])
    told = f"*SmolLM2-135M learns to file tickets: {names} at three learning rates each"
    told += f", {' to '.join(map(str, seeds[:1] + seeds[1:][-1:]))} seeds at the rate chosen."
    ratios = {name: found[TASK].get(TEXT, {}).get(name, {}).get("matched") for name in TOLD}
    moved = [f"{plan.title(name)}, {_range(ratio)} times" for name, ratio in ratios.items() if ratio is not None]
    if moved:
        told += f" At equal gain predictions on other text move less far than with LoRA: {'; '.join(moved)}"
        told += f", by the gain (from {HIGH:.0%} of the largest that both reach)."
    if unsure := [plan.title(name) for name, ratio in ratios.items() if ratio is not None and not ratio.firm]:
        told += f" {'; '.join(unsure)}: most rates have one seed, so it is no proof."
    return told + " It is one small model and one task: [all tasks and methods](studies/benchmark/README.md).*"


def _range(ratio: Ratio) -> str:
    """The least and the largest ratio from the high gains up."""
    at = [one for share, one in zip(LEVELS, ratio.levels, strict=False) if share >= HIGH and math.isfinite(one)]
    return f"{min([*at, ratio.value]):.2f} to {max([*at, ratio.value]):.2f}"


def _listed(names: list[str]) -> str:
    joint = "; " if any("," in name for name in names) else ", "
    return joint.join(names) if len(names) != 2 else " and ".join(names)
