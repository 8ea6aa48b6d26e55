"""Which budgets can be kept, was the promise true, and what did it cost? From the measured curves alone.

Run: python studies/control/analyse.py
Writes results.json, tables.md and scaling.png. For each adapter and budget:
* once, as the tool does it: a part of the units certifies, the rest is fresh evaluation data;
* 500 times: control data are drawn with replacement from all units, whose mean is then the known truth. The promise is
  broken where the true loss at the setting chosen is above the limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.budget.certify import nats_losses
from retain.records.files import write_text
from retain.records.metrics_table import KL_DIVERGENCE
from retain.report.plots.style import COLOURS, FAINT, MARKERS, house_style, new_figure, save_png
from retain.stats.bounds import mean_p_value
from retain.stats.net_loss import within_limit

GRID = (0.2, 0.4, 0.6, 0.8, 1.0)
HERE = Path(__file__).parent
DRAWS, CONFIDENCE = 500, 0.95
POINTS, NATS = (0.0, 1.0, 2.0, 5.0), (0.05, 0.1, 0.3)
SUITES = {"language": ("capitals",), "understanding": ("headline-retrieval", "gloss-retrieval")}
"""The retention suites of each study, put together to one of more items."""

CONTROL_SHARE = {"language": 0.75, "understanding": 0.5}
"""Language has 144 questions and 32 windows: half of them could certify nothing."""

Losses = NDArray[np.float64]
Curve = dict[float, dict[str, Losses]]


def read(study: str) -> dict[str, Curve]:
    """For each adapter and α: task (change per item), points (loss per item) and kl (per window)."""
    found = {}
    for path in sorted((HERE / study).glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        task = told["task"][0]
        sign = -1.0
        curve: Curve = {}
        for alpha, one in told["alphas"].items():
            if float(alpha) not in GRID:  # one grid for all
                continue
            curve[float(alpha)] = {
                "task": sign * np.asarray(one[task]),
                "points": np.concatenate([np.asarray(one[name]) for name in SUITES[study]]),
                **({"kl": np.asarray(one["kl"])} if "kl" in one else {}),
            }
        found[path.stem] = curve
    return found


def is_kept(kind: str, losses: Losses, limit: float) -> bool:
    """Whether a sample of control units certifies a limit, in points or nats."""
    if kind == "kl":
        evidence = nats_losses("kl", KL_DIVERGENCE, limit, losses)
        p_value = mean_p_value(evidence.losses, limit, evidence.smallest, evidence.largest)
        return p_value <= 1 - CONFIDENCE and float(losses.mean()) <= limit
    lost, gained = int((losses > 0).sum()), int((losses < 0).sum())
    return within_limit(lost, gained, len(losses), limit / 100, CONFIDENCE)


def turned(kind: str, curve: Curve, limit: float, units: Sequence[int] | NDArray[np.int64]) -> float:
    """The largest setting that control units certify, in the fixed order; 0 where none."""
    chosen = 0.0
    for alpha, one in curve.items():
        if not is_kept(kind, one[kind][units], limit):
            break
        chosen = alpha
    return chosen


def cached(kind: str, limit: float) -> Callable[[Losses], bool]:
    """`is_kept` with the answers for counts kept: bootstrap draws repeat them."""
    known: dict[tuple[int, int, int], bool] = {}

    def check(losses: Losses) -> bool:
        if kind == "kl":
            return is_kept(kind, losses, limit)
        key = (int((losses > 0).sum()), int((losses < 0).sum()), len(losses))
        if key not in known:
            known[key] = within_limit(*key, limit / 100, CONFIDENCE)
        return known[key]

    return check


def judged(kind: str, curve: Curve, limit: float, share: float, generator: np.random.Generator) -> dict[str, Any]:
    """One budget on one adapter: once as the tool does it, and many times against the known truth."""
    n = len(next(iter(curve.values()))[kind])
    order = generator.permutation(n)
    cut = int(n * share)
    control, fresh = order[:cut], order[cut:]
    alpha = turned(kind, curve, limit, control)
    scale = 1.0 if kind == "kl" else 100.0
    truth = {setting: scale * float(one[kind].mean()) for setting, one in curve.items()} | {0.0: 0.0}
    gain = {setting: float(one["task"].mean()) for setting, one in curve.items()} | {0.0: 0.0}
    whole = max(gain.values())
    fresh_loss = scale * float(curve[alpha][kind][fresh].mean()) if alpha else 0.0
    check, broken, delivered, gains = cached(kind, limit), 0, 0, []
    for _ in range(DRAWS):
        drawn = generator.integers(n, size=n)
        chosen = 0.0
        for setting, one in curve.items():
            if not check(one[kind][drawn]):
                break
            chosen = setting
        broken += truth[chosen] > limit
        delivered += chosen > 0
        gains.append(gain[chosen] / gain[1.0] if gain[1.0] > 0 else 0.0)
    return {
        "alpha": alpha,
        "control_units": len(control),
        "fresh_loss": fresh_loss,
        "fresh_kept": fresh_loss <= limit,
        "gain": gain[alpha],
        "gain_of_whole": gain[alpha] / gain[1.0] if gain[1.0] else None,
        "best_gain": whole,
        "true_loss_at_1": truth[1.0],
        "broken_of_draws": broken / DRAWS,
        "delivered_of_draws": delivered / DRAWS,
        "mean_gain_of_whole": float(np.mean(gains)),
    }


def analysed(study: str) -> dict[str, Any]:
    """Every adapter with every budget."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name, curve in read(study).items():
        kinds = {"points": POINTS} | ({"kl": NATS} if "kl" in curve[1.0] else {})
        found[name] = {
            "curve": {
                f"{alpha:g}": {key: float(values.mean()) for key, values in one.items()} for alpha, one in curve.items()
            },
            "budgets": {
                f"{kind}:{limit:g}": judged(kind, curve, limit, CONTROL_SHARE[study], generator)
                for kind, limits in kinds.items()
                for limit in limits
            },
        }
    return found


def tables(results: Mapping[str, Any]) -> str:
    """One table a study: α delivered with the share of the gain; and the promise over all runs."""
    parts = []
    for study, adapters in results.items():
        budgets = list(dict.fromkeys(key for one in adapters.values() for key in one["budgets"]))
        lines = [f"**{study}**: α delivered (share of all the gain); † fresh loss above the limit", ""]
        lines += ["| adapter | gain | " + " | ".join(budgets) + " |", "|---" * (len(budgets) + 2) + "|"]
        for name, one in adapters.items():
            cells = [_cell(one["budgets"].get(key)) for key in budgets]
            lines.append(f"| {name} | {one['curve']['1']['task']:.3f} | " + " | ".join(cells) + " |")
        runs = [(key, run) for one in adapters.values() for key, run in one["budgets"].items()]
        given = [run for _, run in runs if run["alpha"] > 0]
        kept = sum(run["fresh_kept"] for run in given)
        worst = max(run["broken_of_draws"] for _, run in runs)
        mean = float(np.mean([run["broken_of_draws"] for _, run in runs]))
        told = f"{len(runs)} runs, {len(given)} delivered an adapter, {kept} of these kept the limit on fresh data"
        odds = f"broken in {100 * mean:.1f} % in the mean and {100 * worst:.1f} % at worst"
        stated = f"stated: at most {100 * (1 - CONFIDENCE):.0f} %"
        lines += ["", f"{told}; over {DRAWS} draws of control data each, the promise was {odds} ({stated})."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cell(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return ""
    if run["alpha"] == 0:
        return "none"
    return f"{run['alpha']:g} ({100 * run['gain_of_whole']:.0f} %){'' if run['fresh_kept'] else ' †'}"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Task gain against loss along each adapter's scaling path."""
    panels = [
        ("language", "kl", "KL to the base, nats per token"),
        ("language", "points", "capitals lost, points"),
    ]
    panels += [("understanding", "points", "texts no longer found, points")]
    panels = [panel for panel in panels if results.get(panel[0])]
    with house_style():
        figure = new_figure(5.2 * len(panels), 4.2)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (study, kind, label) in zip(grid, panels, strict=True):
            scale = 100.0 if kind == "points" else 1.0
            for index, (name, one) in enumerate(results[study].items()):
                if kind not in one["curve"]["1"]:
                    continue
                xs = [0.0, *(scale * point[kind] for point in one["curve"].values())]
                ys = [0.0, *(point["task"] for point in one["curve"].values())]
                style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
                axes.plot(xs, ys, linewidth=1.2, markersize=4, label=name, **style)
            axes.axvline(0, color=FAINT, linewidth=0.8)
            axes.set_xlabel(label)
            axes.set_ylabel("gained on the task")
            axes.set_title(f"{study}: along the scaling path", fontsize=10)
            axes.legend(fontsize=7)
        save_png(figure, path)


def main() -> None:
    """Analyse both studies as far as they are measured."""
    results = {study: analysed(study) for study in SUITES if any((HERE / study).glob("*.json"))}
    write_text(HERE / "results.json", json.dumps(results, indent=1) + "\n")
    write_text(HERE / "tables.md", tables(results))
    draw(results, HERE / "scaling.png")
    print(tables(results))


if __name__ == "__main__":
    main()
