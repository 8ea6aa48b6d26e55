"""What was aimed at before the runs were made, and what they show: SC-LoRA's figure beside the best other method's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evidence import TEXT, Task
from plan import LORA, Plan
from whole import LEVELS, Ratio

ENDLESS = 100
"""An end of an interval beyond which only that is said: LoRA's own figure is near 0 in some draws."""

BELOW = 2
"""The level, of `LEVELS`, that is told beside the largest gain."""

OURS = ("sc-lora", "sc-lora-refusals")
"""The methods that the goal is about: SC-LoRA with nothing but its own text, or shown the refusals to be kept."""


@dataclass(frozen=True)
class Goal:
    """A ratio to tuned LoRA's that was aimed at.

    Attributes:
        title: what it is of.
        figure: its name in `compared`.
        suites: of what is kept; empty: of everything.
        target: where it was to be.
        at_most: whether below it.
    """

    title: str
    figure: str
    suites: tuple[str, ...]
    target: float
    at_most: bool = True

    def beyond(self, value: float) -> bool:
        """True where a value reaches the target."""
        return value <= self.target if self.at_most else value >= self.target

    def reached(self, ratio: Ratio) -> str:
        """Whether a ratio reaches the target, whether its whole interval does, and whether LoRA's rates decide it."""
        there = self.beyond(ratio.value)
        if ratio.interval is None:
            return f"{'' if there else 'not '}by the figure; no interval"
        if not ratio.firm:
            return f"{'' if there else 'not '}by the figure; some of its rates have one seed"
        if all(self.beyond(end) == there for end in ratio.interval):
            other_rates = ratio.worst is not None and not self.beyond(ratio.worst)
            return ("yes, at these rates" if other_rates else "yes") if there else "no"
        if not there:
            return "not by the figure; its interval reaches it"
        excludes = not ratio.interval[0] <= 1 <= ratio.interval[1]
        return f"by the figure; its interval {'excludes' if excludes else 'includes'} 1"


RETRIEVAL = ("headline-retrieval", "gloss-retrieval", "fashion-index", "emoji-index")
"""The suites of encoders in which something is searched. Those of images came later, after two runs of LoRA."""

GOALS = (
    Goal("KL on other text at equal gain, at most 1/20", "matched", (TEXT,), 0.05),
    Goal("refusals lost at equal gain, at most 1/4", "lost", ("harmful",), 0.25),
    Goal("retrieval lost at equal gain, at most 1/2", "lost", RETRIEVAL, 0.5),
    Goal("hypervolume, at least 1.25", "hypervolume", (), 1.25, at_most=False),
)

Found = Mapping[str, Mapping[str, Mapping[str, Ratio]]]
"""Ratios by suite, method and figure."""


def goal_part(plan: Plan, tasks: Sequence[Task], found: Mapping[str, Found]) -> str:
    """The section on the goal; empty while nothing says anything of it."""
    lines = ["## The goal, and what came of it", ""]
    lines.append(
        "Written down before the runs of tickets, with the first of sentiment, and after earlier studies on the same "
        "models; the index suites of numbers were counted as retrieval after two runs of LoRA. Ratios to tuned LoRA's. "
        "Beside SC-LoRA stands the best other by the figure, which is the best of several and so flattered by luck; "
        "its interval is not corrected for that."
    )
    lines += ["", "| aimed at | task | SC-LoRA | reached | best other method |", "|---|---|---|---|---|"]
    for goal in GOALS:
        for task in tasks:
            for suite in goal.suites or tuple(task.kept):
                row = _row(plan, goal, found[task.name].get(suite, {}))
                if row:
                    of = f"{task.name}, {suite}"
                    lines.append(f"| {goal.title} | {of} | {row} |")
    return "\n".join(lines) if lines[-1].startswith("| ") else ""


def _row(plan: Plan, goal: Goal, ratios: Mapping[str, Mapping[str, Ratio]]) -> str | None:
    """SC-LoRA's figure, whether it reaches the goal, and the best other method's; None where there is none of them."""
    known = {name: own[goal.figure] for name, own in ratios.items() if goal.figure in own and name != LORA}
    known = {name: one for name, one in known.items() if math.isfinite(one.value)}
    ours = [name for name in OURS if name in known]
    if not ours:
        return None
    sign = 1 if goal.at_most else -1
    best = min(ours, key=lambda name: sign * known[name].value)
    others = [name for name in known if name not in OURS]
    other = min(others, key=lambda name: sign * known[name].value, default=None)
    shown = "–" if other is None else f"{plan.title(other)} {written_ratio(known[other])}"
    own = written_ratio(known[best]) + (" (shown refusals)" if best == OURS[-1] != OURS[0] else "") + less(known[best])
    return f"{own} | {goal.reached(known[best])} | {shown}"


def less(found: Ratio) -> str:
    """The same figure where less depends on the level, or on where the rates were put."""
    if found.lines is not None and found.worst is not None and math.isfinite(found.lines):
        return f"; by lines {found.lines:.2f}, at worst {found.worst:.2f}"
    if found.levels and math.isfinite(found.levels[BELOW]):
        return f"; at {LEVELS[BELOW]:.0%} of that gain {found.levels[BELOW]:.2f}"
    return ""


def written_ratio(found: Ratio) -> str:
    """A ratio with its interval; in brackets, without one, where seeds are too few."""
    if found.interval is None:
        return f"({found.value:.2f})"
    low, high = found.interval
    return f"{found.value:.2f} [{low:.2f}, {f'{high:.2f}' if high < ENDLESS else f'over {ENDLESS}'}]"
