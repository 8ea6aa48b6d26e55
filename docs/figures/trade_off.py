"""Draw the README's picture from the committed records of studies/sc-lora: gain on the task against drift elsewhere.

Run: python docs/figures/trade_off.py
"""

# ruff: noqa: INP001  # a script beside its picture, no package

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
RECORDS = HERE.parents[1] / "studies" / "sc-lora" / "results"
METHODS = {
    "LoRA": ("#d55e00", "s", ("lora-lr0.0003", "lora-lr0.001", "lora-lr0.003")),
    "CorDA-KPM": ("#7a7a7a", "^", ("corda-kpm-lr0.0001", "corda-kpm-lr0.0003", "corda-kpm-lr0.001")),
    "SC-LoRA": ("#0072b2", "o", ("sc-lora-lr3e-05", "sc-lora-lr0.0001", "sc-lora-lr0.0003")),
}
LABELS = {"LoRA": (0.335, 2.2), "CorDA-KPM": (0.2, 1.3), "SC-LoRA": (0.045, 2.38)}


def main() -> None:
    """One point a run (seed 0), three learning rates a method; bars are the records' own 95 % intervals."""
    plt.rcParams.update({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(8.4, 4.4))
    for name, (colour, marker, runs) in METHODS.items():
        found = [json.loads((RECORDS / f"{run}-seed0.json").read_text(encoding="utf-8")) for run in runs]
        tasks, drifts = [one["task"][0] for one in found], [one["drift"] for one in found]
        gains = [one["base"] - one["tuned"] for one in tasks]
        kls = [one["kl_nats_per_token"] for one in drifts]
        up = [[gain + one["interval"][1] for gain, one in zip(gains, tasks, strict=True)],
              [-one["interval"][0] - gain for gain, one in zip(gains, tasks, strict=True)]]  # fmt: skip
        across = [[kl - one["kl_interval"][0] for kl, one in zip(kls, drifts, strict=True)],
                  [one["kl_interval"][1] - kl for kl, one in zip(kls, drifts, strict=True)]]  # fmt: skip
        axes.errorbar(kls, gains, up, across, color=colour, marker=marker, markersize=8, capsize=3, alpha=0.35, ls="")
        axes.plot(kls, gains, color=colour, marker=marker, markersize=9, linewidth=2)
        axes.annotate(name, LABELS[name], color=colour, fontsize=15, fontweight="bold")
    axes.plot(0, 0, "k*", markersize=14, clip_on=False)
    axes.annotate("the base model", (0.008, 0.06))
    axes.annotate("better", (0.012, 1.0), (0.07, 0.72), arrowprops={"arrowstyle": "->"}, color="#444444")
    axes.set(xlim=(0, 0.56), ylim=(0, 2.6))
    axes.set_xlabel("forgetting: KL from the base on text that is not the task's, nats per token")
    axes.set_ylabel("learned: gain on the task,\nnats per token")
    axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(HERE / "trade-off.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
