"""Who finds an equivalent amount that is known? A lurking variable is put into a trained network's inputs on purpose.

A small network learns the digits of scikit-learn. Then its inputs are distorted in a way that is known exactly, and the
network is adapted with few distorted samples by VeFA, LoRFA, LoRA and by training all weights. Asked: how much of the
accuracy comes back, what happens to undistorted inputs, and whether VeFA's λ is the true amount.

Run: python studies/eem/run.py    (one core, about five minutes; writes results.json and recovery.png beside this file)
     python studies/eem/run.py --summary    (makes the summary and the plot again from the runs in results.json)
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from retain import LoRFAConfig, VeFAConfig

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
SEEDS = range(5)
SAMPLES = (8, 32, 128, 512)
STEPS = 150
BATCH = 64
BASE_STEPS = 400
RANK = 4
LAYERS = {"all": ["0", "2", "4"], "first": ["0"]}
"""Names of the adapted linear layers: everywhere, or only where the distortion really acts."""
RATES = {
    "VeFA": (2e-2, 6e-2, 2e-1),
    "LoRFA": (2e-3, 6e-3, 2e-2),
    "LoRA": (2e-3, 6e-3, 2e-2),
    "all weights": (3e-4, 1e-3, 3e-3),
}
COLUMNS = (
    *("method", "where", "samples", "rate", "seed", "parameters", "chosen_by", "shifted", "unshifted"),
    *("kl_unshifted_nats", "spearman", "pearson", "unshifted_with_exact_amount", "kl_with_exact_amount_nats"),
)
SHIFTS = ("gains", "mix", "offsets")
SPREAD, MIX_RANK, MIX_SIZE, OFFSET = 1.0, 2, 0.6, 0.4
SEEN = 0.05
"""Root mean square above which a pixel is held to carry anything from which its gain can be learned."""


Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Digits:
    """Pixels in [0, 1], (images, 64), and labels; four parts that share no image."""

    base: tuple[Tensor, Tensor]
    adapt: tuple[Tensor, Tensor]
    choose: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shift:
    """x' = x Mᵀ + c: what the lurking variable does to the inputs. `amount` is VeFA's exact λ where there is one."""

    matrix: Tensor
    offset: Tensor
    amount: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The distorted inputs (images, 64)."""
        return x @ self.matrix.T + self.offset

    def undone(self, x: Tensor) -> Tensor:
        """The inputs with the exact equivalent amount added: x + T(x)."""
        inside: Tensor = torch.linalg.solve(self.matrix, (x - self.offset).T)
        return inside.T


def digits(seed: int) -> Digits:
    """685 images for the base, 512 to adapt with, 200 to choose the rate by, 400 to test."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    pixels = torch.tensor(x[order] / 16, dtype=torch.float32)
    labels = torch.tensor(y[order])
    parts = np.split(np.arange(len(x)), np.cumsum([685, 512, 200]))
    return Digits(*((pixels[part], labels[part]) for part in parts))


def make_shift(kind: str, seed: int) -> Shift:
    """Gains exp(z) of each pixel; a mix of rank 2 across pixels; or an offset of each pixel."""
    draw = np.random.default_rng([seed, SHIFTS.index(kind)])
    eye, none = torch.eye(64), torch.zeros(64)
    if kind == "gains":
        gains = torch.tensor(np.exp(SPREAD * draw.standard_normal(64)), dtype=torch.float32)
        return Shift(torch.diag(gains), none, 1 / gains - 1)
    if kind == "mix":
        left, right = draw.standard_normal((2, 64, MIX_RANK))
        return Shift(eye + torch.tensor(MIX_SIZE / 8 * left @ right.T, dtype=torch.float32), none)
    return Shift(eye, torch.tensor(OFFSET * draw.standard_normal(64), dtype=torch.float32))


def train(model: nn.Module, data: tuple[Tensor, Tensor], rate: float, steps: int) -> None:
    """Adam on batches of up to 64, drawn by torch's seed; the rate falls to 0 along a cosine."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randperm(len(data[0]))[:BATCH]
        optimizer.zero_grad()
        functional.cross_entropy(model(data[0][rows]), data[1][rows]).backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        schedule.step()


def make_base(data: Digits, seed: int) -> nn.Module:
    """A perceptron 64 → 128 → 64 → 10, trained on undistorted images."""
    torch.manual_seed(seed)
    base = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    train(base, data.base, 3e-3, BASE_STEPS)
    return base


def attach(base: nn.Module, method: str, where: str) -> nn.Module:
    """A copy of the base with a fresh adapter on some layers, or one all of whose weights train."""
    model = copy.deepcopy(base)
    if method == "all weights":
        return model
    configs: dict[str, Any] = {
        "VeFA": lambda names: VeFAConfig(target_modules=names),
        "LoRFA": lambda names: LoRFAConfig(target_modules=names, r=RANK, lorfa_alpha=RANK),
        "LoRA": lambda names: LoraConfig(target_modules=names, r=RANK, lora_alpha=RANK),
    }
    adapted: nn.Module = get_peft_model(model, configs[method](LAYERS[where]))
    return adapted


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images that are told right."""
    return float((model(x).argmax(1) == y).float().mean())


@torch.no_grad()
def divergence(base: Tensor, other: Tensor) -> float:
    """Mean KL(base ‖ other) in nats over images, from logits (images, 10)."""
    log_p, log_q = base.log_softmax(1), other.log_softmax(1)
    return float((log_p.exp() * (log_p - log_q)).sum(1).mean())


def likeness(model: nn.Module, amount: Tensor, data: Digits) -> dict[str, float]:
    """How VeFA's λ of the first layer goes with the true amount, over the pixels that carry anything."""
    learned = dict(model.named_parameters())["base_model.model.0.vefa_lambda.default.weight"].detach()
    seen = data.base[0].square().mean(0).sqrt() > SEEN
    pair = learned[seen].numpy(), amount[seen].numpy()
    return {"spearman": float(stats.spearmanr(*pair).statistic), "pearson": float(stats.pearsonr(*pair).statistic)}


def one_run(
    base: nn.Module, data: Digits, shift: Shift, method: str, where: str, count: int, rate: float, seed: int
) -> dict[str, Any]:
    """Adapt once, and measure on images that were used for nothing else."""
    torch.manual_seed(seed)
    model = attach(base, method, where)
    train(model, (shift(data.adapt[0][:count]), data.adapt[1][:count]), rate, STEPS)
    model.eval()
    x, y = data.test
    found = {
        "method": method,
        "where": where,
        "samples": count,
        "rate": rate,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "chosen_by": accuracy(model, shift(data.choose[0]), data.choose[1]),
        "shifted": accuracy(model, shift(x), y),
        "unshifted": accuracy(model, x, y),
        "kl_unshifted_nats": divergence(base(x), model(x)),
    }
    if method == "VeFA" and shift.amount is not None:
        found |= likeness(model, shift.amount, data)
    return found


def places(method: str) -> list[str]:
    """Where a method is put. All weights train everywhere or not at all."""
    return ["all"] if method == "all weights" else list(LAYERS)


def all_runs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every kind of shift with every seed, method, place, number of samples and rate; references as "base"."""
    for seed in SEEDS:
        data = digits(seed)
        base = make_base(data, seed).eval()
        x, y = data.test
        for kind in SHIFTS:
            shift = make_shift(kind, seed)
            yield (
                kind,
                {
                    "method": "base",
                    "seed": seed,
                    "shifted": accuracy(base, shift(x), y),
                    "unshifted": accuracy(base, x, y),
                    "unshifted_with_exact_amount": accuracy(base, shift.undone(x), y),
                    "kl_with_exact_amount_nats": divergence(base(x), base(shift.undone(x))),
                },
            )
            for method, rates in RATES.items():
                for where in places(method):
                    for count in SAMPLES:
                        for rate in rates:
                            yield kind, one_run(base, data, shift, method, where, count, rate, seed)


def interval(values: list[float]) -> dict[str, float]:
    """Mean, and half the width of Student's 95 % interval over seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return {"mean": round(float(np.mean(values)), 4), "half": round(float(half), 4)}


def at_best_rate(runs: Runs, method: str, where: str, count: int) -> list[dict[str, Any]]:
    """One run a seed, at the one rate that is best on the 200 images for choosing, in the mean over seeds.

    Of rates that are equally good the smallest.
    """
    of = {"method": method, "where": where, "samples": count}
    by_rate = {rate: [run for run in runs if run.items() >= (of | {"rate": rate}).items()] for rate in RATES[method]}
    return max(by_rate.values(), key=lambda same: round(float(np.mean([run["chosen_by"] for run in same])), 6))


def summary(runs: dict[str, Runs]) -> dict[str, list[dict[str, Any]]]:
    """Per shift, method, place and number of samples, at the best rate; `minus_lora` is paired by seed.

    The row of the base and of the exact amount stands first.
    """
    table: dict[str, list[dict[str, Any]]] = {}
    for kind, all_of in runs.items():
        bases = [run for run in all_of if run["method"] == "base"]
        numbers = [key for key in bases[0] if key not in {"method", "seed"}]
        table[kind] = [{"method": "base"} | {key: interval([run[key] for run in bases]) for key in numbers}]
        for method in RATES:
            table[kind] += [_row(all_of, method, where, count) for where in places(method) for count in SAMPLES]
    return table


def _row(runs: Runs, method: str, where: str, count: int) -> dict[str, Any]:
    best, lora = (at_best_rate(runs, name, where, count) for name in (method, "LoRA"))
    keys = ("shifted", "unshifted", "kl_unshifted_nats", "spearman", "pearson")
    row = {"method": method, "where": where, "samples": count, "rate": best[0]["rate"]}
    row |= {"parameters": best[0]["parameters"]}
    row |= {key: interval([run[key] for run in best]) for key in keys if key in best[0]}
    if method != "LoRA":
        pairs = list(zip(best, lora, strict=True))
        row["minus_lora"] = {k: interval([one[k] - other[k] for one, other in pairs]) for k in keys[:3]}
    return row


def plot(table: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Accuracy on distorted and on undistorted images over the number of samples, one column a shift."""
    titles = {"gains": "a gain of each pixel", "mix": "a rank-2 mix of pixels", "offsets": "an offset of each pixel"}
    colours = {"VeFA": "#0072b2", "LoRFA": "#009e73", "LoRA": "#d55e00", "all weights": "#7f7f7f"}
    figure, axes = plt.subplots(2, len(table), figsize=(4 * len(table), 6.6), sharex=True, sharey="row")
    for column, (kind, rows) in enumerate(table.items()):
        for row, field in enumerate(("shifted", "unshifted")):
            axis = axes[row, column]
            base = rows[0]
            axis.axhline(base["unshifted"]["mean"], color="black", lw=1, ls="-")
            lower = base["shifted"] if row == 0 else base["unshifted_with_exact_amount"]
            axis.axhline(lower["mean"], color="black", lw=1, ls=":")
            for place, (method, colour) in enumerate(colours.items()):
                for where, style in (("all", "-"), ("first", "--")):
                    of = [r for r in rows if r["method"] == method and r.get("where") == where]
                    if not of:
                        continue
                    x = np.array([r["samples"] for r in of]) * 1.06 ** (2 * place + (where == "first") - 3)
                    mean, half = (np.array([r[field][key] for r in of]) for key in ("mean", "half"))
                    label = method + ("" if where == "all" else ", first layer only")
                    axis.errorbar(
                        x, mean, half, color=colour, ls=style, marker="o", ms=3, lw=1.4, capsize=2, label=label
                    )
            axis.set_xscale("log")
            axis.set_xticks(SAMPLES, [str(n) for n in SAMPLES])
            axis.minorticks_off()
            axis.grid(alpha=0.25)
        axes[0, column].set_title(titles[kind])
        axes[1, column].set_xlabel("distorted samples to adapt with")
    axes[0, 0].set_ylabel("accuracy on distorted images")
    axes[1, 0].set_ylabel("accuracy on undistorted images,\nadapter on")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.text(
        0.5,
        0.105,
        "Solid line: the base on undistorted images. Dotted: the base on distorted ones (above), the base with the "
        "exact amount on undistorted ones (below). Bars: 95 % over 5 seeds.",
        ha="center",
        fontsize=8,
    )
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.savefig(path, dpi=130)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _uncell(column: str, cell: str) -> str | int | float:
    if column in {"method", "where"}:
        return cell
    return int(cell) if column in {"samples", "seed", "parameters"} else float(cell)


def _read_runs(lines: list[str]) -> dict[str, Runs]:
    runs: dict[str, Runs] = {kind: [] for kind in SHIFTS}
    for line in lines:
        kind, *cells = line.split(",")
        runs[kind].append({c: _uncell(c, cell) for c, cell in zip(COLUMNS, cells, strict=True) if cell})
    return runs


def main() -> None:
    """Run everything, or read what was run; write the record and the plot."""
    torch.set_num_threads(1)
    path = HERE / "results.json"
    if sys.argv[1:] == ["--summary"]:
        record = json.loads(path.read_text(encoding="utf-8"))
    else:
        started, runs = time.monotonic(), list(all_runs())
        record = {
            "command": "python studies/eem/run.py",
            "seconds": round(time.monotonic() - started),
            "seeds": len(SEEDS),
            "steps": STEPS,
            "rank": RANK,
            "columns": ",".join(["shift", *COLUMNS]),
            "runs": [",".join([kind, *(_cell(run.get(c)) for c in COLUMNS)]) for kind, run in runs],
        }
    table = summary(_read_runs(record["runs"]))
    path.write_text(json.dumps(record | {"summary": table}, indent=1) + "\n", encoding="utf-8")
    plot(table, HERE / "recovery.png")


if __name__ == "__main__":
    main()
