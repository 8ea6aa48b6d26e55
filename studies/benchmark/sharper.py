"""More draws where few decide: the p-values that lie near what Holm's correction asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from evidence import Draws, Floats, Task
from plan import LORA
from whole import SEED, Ratio, compared, p_of, with_holm

ROUNDS = 9
"""How often as many draws are made again. Holm over 151 figures asks for p ≤ .00033, which is 3 draws of 20,000."""
NEAR = 0.5
"""The largest p after correction that more draws are made for: nothing above it comes to be shown by them."""

Found = Mapping[str, Mapping[str, Mapping[str, Ratio]]]


def sharpened(task: Task, found: Found, number: int) -> dict[str, dict[str, dict[str, Ratio]]]:
    """The ratios of a task after Holm, with more draws for those that could be shown.

    Args:
        task: its records.
        found: {suite: {method: {figure: ratio}}}, from so many draws each.
        number: how many draws a round has.
    """
    first = with_holm(found)
    near: dict[str, dict[str, dict[str, list[Floats]]]] = defaultdict(lambda: defaultdict(dict))
    for suite, methods in first.items():
        for method, own in methods.items():
            for figure, one in own.items():
                if one.firm and one.adjusted is not None and one.adjusted <= NEAR and one.drawn is not None:
                    near[suite][method][figure] = [one.drawn]
    for seed in range(SEED + 1, SEED + 1 + ROUNDS if near else SEED + 1):
        draws = Draws(task, number, seed)
        for suite, those in near.items():
            again = compared(task, [LORA, *those], suite, draws, seed)
            for method, figures in those.items():
                for figure, drawn in figures.items():
                    more = again[method][figure].drawn
                    drawn.append(np.full(number, np.nan) if more is None else more)
    return with_holm(
        {
            suite: {method: _with(own, near, suite, method) for method, own in methods.items()}
            for suite, methods in first.items()
        }
    )


def _with(
    own: Mapping[str, Ratio], near: Mapping[str, Mapping[str, Mapping[str, list[Floats]]]], suite: str, method: str
) -> dict[str, Ratio]:
    """A method's figures with the p-values of all their draws."""
    drawn = near.get(suite, {}).get(method, {})
    return {
        figure: replace(one, p=p_of(np.concatenate(drawn[figure]))) if figure in drawn else one
        for figure, one in own.items()
    }
