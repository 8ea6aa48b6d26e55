"""The picture at the front of the repository's README: which runs it shows, and what is said under it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evidence import TEXT, Run, Task, by_rate
from goal import Found
from plan import LORA, Plan
from whole import ENOUGH_SEEDS, LEVELS, SWEPT

SHOWN = (LORA, "lora-decay", "sc-lora", "vefa", "lorfa", "lora-kl", "lora-replay", "full")
"""Methods in the picture, as far as all their rates were tried."""

TASK, OURS = "tickets", "sc-lora"
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
    seeds = min((max(map(len, runs)) for runs in shown.values()), default=0)
    names = _listed([plan.title(name) for name in shown])
    told = f"*SmolLM2-135M learns to file tickets: {names} at three learning rates each"
    told += ", one seed a point." if seeds < ENOUGH_SEEDS else f", {seeds} seeds at the rate chosen."
    ratio = found[TASK].get(TEXT, {}).get(OURS, {}).get("matched")
    if ratio is not None:
        at = [one for share, one in zip(LEVELS, ratio.levels, strict=False) if share >= HIGH and math.isfinite(one)]
        low, high = min([*at, ratio.value]), max([*at, ratio.value])
        told += f" At equal gain SC-LoRA moves predictions on other text {low:.2f} to {high:.2f} times as far as LoRA"
        told += f", by the gain (from {HIGH:.0%} of the largest that both reach)"
        told += "." if ratio.firm else "; most rates have one seed, so it is no proof."
    return told + " It is one small model and one task: [all tasks and methods](studies/benchmark/README.md).*"


def _listed(names: list[str]) -> str:
    joint = "; " if any("," in name for name in names) else ", "
    return joint.join(names) if len(names) != 2 else " and ".join(names)
