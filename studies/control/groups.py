"""Scaling by groups of layers against one α for all: loss at the same gain, from the measured curves alone.

Run: python studies/control/curves.py studies/control/groups-language.yaml (and groups-understanding.yaml), then this.
Writes groups.md: for each group left out or at half, the gain and loss at each setting, and the loss of one α
for all layers at that gain (between its settings along a line, with the base at 0).
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np

from retain.records.files import write_text

HERE = Path(__file__).parent
STUDIES = {
    "language": ("lora-1e-3", ("kl",), "KL, nats a token"),
    "understanding": ("lora-5e-3", ("headline-retrieval", "gloss-retrieval"), "texts no longer found, points"),
}
"""For each study the adapter, what is lost, and its unit."""

Point = tuple[float, float, float]
"""α, gain, loss."""


def curve(path: Path, lost: tuple[str, ...]) -> list[Point]:
    """The base, then each setting that was measured."""
    told = json.loads(path.read_text(encoding="utf-8"))
    scale = 1.0 if lost == ("kl",) else 100.0
    points = [(0.0, 0.0, 0.0)]
    for alpha, one in told["alphas"].items():
        loss = scale * float(np.mean(np.concatenate([one[name] for name in lost])))
        points.append((float(alpha), -float(np.mean(one[told["task"][0]])), loss))
    return points


def loss_at(gain: float, points: list[Point]) -> float | None:
    """The least loss at which the update scaling of all layers has a gain; None where it never has."""
    found = [
        low[2] + (high[2] - low[2]) * (gain - low[1]) / (high[1] - low[1])
        for low, high in itertools.pairwise(points)
        if low[1] < high[1] and low[1] <= gain <= high[1]
    ]
    return min(found, default=None)


def table(study: str) -> str:
    """One row for each group and setting."""
    adapter, lost, unit = STUDIES[study]
    whole = curve(HERE / study / f"{adapter}.json", lost)
    lines = [f"**{study}**, {adapter}; lost: {unit}", "", "| layers | α | gain | lost | all layers at that gain |"]
    lines.append("|---" * 5 + "|")
    for path in sorted((HERE / f"groups-{study}").glob("*.json")):
        for alpha, gain, loss in curve(path, lost)[1:]:
            beside = loss_at(gain, whole)
            told = "never had" if beside is None else f"{beside:.3g}"
            lines.append(f"| {path.stem} | {alpha:g} | {gain:.3g} | {loss:.3g} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    write_text(HERE / "groups.md", "\n\n".join(table(study) for study in STUDIES) + "\n")
