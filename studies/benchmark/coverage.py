"""How often the page's intervals hold the truth, and how often what is "shown" is not there: a benchmark made up.

Two methods with known curves run at three rates with a few seeds, on items drawn anew each time. `whole.compared` makes
the ratios and intervals as it does of records; the truth is the same ratio of the expected gains and expected shares
kept. The shape is that of tickets: 100 items of the task, 300 of a suite, 18 windows of text.

    PYTHONPATH=src:studies/benchmark python studies/benchmark/coverage.py
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from evidence import TEXT, WINDOWS, Draws, Floats, Run, Task
from numpy.typing import NDArray
from plan import LORA, Cell
from scipy.stats import norm
from whole import Curve, areas, compared, matched, reference, with_holm

METRIC, SUITE, KL = "cross_entropy_nats_per_token", "facts", "kl_nats_per_token"
ITEMS, QUESTIONS, TEXTS = 100, 300, 18
CHANCE, EASE, FURTHER = 0.3, 0.4, 1.0
"""What guessing gets of the suite; in the spread of its questions how far they lie on the right side for the base, and
how much further to the other a run moves them that diverged."""
ALIKE, PUT, WINDOW, OWN_WINDOW, RUN = 0.5, 0.3, 0.3, 0.3, 0.1
"""Spread of task items, of a run's answers about what it moved by, of windows and of a method's own windows (of the
logarithm), and of a run's scores about those; about as in the records of tickets."""
RATES = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Truth:
    """What a method does at each rate, on average over items and seeds.

    Attributes:
        gain: in nats per token.
        harm: how far a question moves to the wrong side, in the spread of questions.
        drift: KL on text.
        luck: how far a seed is off, as a share of `harm` and of `drift`.
        gain_luck: as a share of `gain`.
        least: the least by which a seed's `harm` is off, however little a rate moved.
        fails: how often a run of the highest rate diverges: it gains nothing, moves a question by 1 more and text
            three times as far.
    """

    gain: tuple[float, ...]
    harm: tuple[float, ...]
    drift: tuple[float, ...]
    luck: float = 0.25
    gain_luck: float = 0.01
    least: float = 0.0
    fails: float = 0.0

    def off(self, at: int) -> float:
        """How far a seed's harm is off at a rate."""
        return max(self.luck * self.harm[at], self.least)

    def right(self, at: int, more: float = 0.0) -> float:
        """The expected share of right answers at a rate."""
        moved = self.harm[at] > 0
        return float(norm.cdf((EASE - self.harm[at] - more) / math.sqrt(1 + PUT**2 * moved + self.off(at) ** 2)))

    def curve(self, suite: str) -> Curve:
        """The expected figures, in a single draw."""
        gain, text = np.asarray(self.gain), -np.asarray(self.drift)
        right = np.asarray([self.right(at) for at in range(len(gain))])
        gain[-1] *= 1 - self.fails
        text[-1] *= 1 + 2 * self.fails
        right[-1] += self.fails * (self.right(-1, FURTHER) - right[-1])
        left = text if suite == TEXT else np.minimum(1.0, (right - CHANCE) / (norm.cdf(EASE) - CHANCE))
        return Curve(RATES, 1, 1, gain[:, None], left[:, None])


@dataclass(frozen=True)
class Case:
    """What two methods do, and how many seeds each of their rates has."""

    about: str
    lora: Truth
    other: Truth
    seeds: tuple[int, ...]
    others: int = 1
    texts: int = TEXTS

    @property
    def same(self) -> bool:
        """The methods do not differ."""
        return self.lora == self.other


PLAIN = Truth((1.7, 3.6, 4.2), (0.02, 0.2, 0.6), (0.005, 0.1, 0.5))
HALF = replace(PLAIN, harm=(0.01, 0.1, 0.3), drift=(0.0025, 0.05, 0.25))
STEEP = Truth((1.72, 4.03, 4.16), (0.0, 0.05, 0.35), (0.004, 0.19, 0.92))
FLAT = Truth((3.36, 4.16, 4.22), (0.0, 0.03, 0.1), (0.003, 0.016, 0.175))
PEAK = Truth((1.04, 2.14, 2.10), (0.0, 0.15, 0.5), (0.004, 0.117, 0.37))
LATE = Truth((1.98, 2.23, 1.83), (0.0, 0.05, 0.3), (0.005, 0.038, 0.30))
WRITTEN = replace(STEEP, harm=(0.12, 4.0, 4.0)), replace(FLAT, harm=(0.18, 4.0, 4.0))
NOISY, WILD, FAILING = replace(PLAIN, gain_luck=0.15), replace(PLAIN, least=0.15), replace(PLAIN, fails=0.25)
CASES = {
    "same": Case("two methods alike, whose curve rises still", PLAIN, PLAIN, (3, 3, 4)),
    "same, flat": Case("two methods alike, whose curve is flat at the end", STEEP, STEEP, (3, 3, 4)),
    "same, noisy": Case("two methods alike, whose gain varies by 15 %", NOISY, NOISY, (3, 3, 4)),
    "same, single": Case("two methods alike, one seed at the other rates", PLAIN, PLAIN, (1, 1, 4)),
    "same, wild": Case("the same, where other rates vary as much as the chosen one", WILD, WILD, (1, 1, 4)),
    "same, failing": Case(
        "two methods alike, a quarter of whose runs at the highest rate diverges", FAILING, FAILING, (3, 3, 4)
    ),
    "same, few windows": Case("two methods alike, nine windows of text, three seeds", PLAIN, PLAIN, (3, 3, 3), texts=9),
    "same, nine": Case("nine methods alike", PLAIN, PLAIN, (3, 3, 4), others=8),
    "failing": Case("one whose runs at the highest rate diverge, and one whose do not", FAILING, PLAIN, (3, 3, 4)),
    "half": Case("one that harms and drifts half as much", PLAIN, HALF, (3, 3, 4)),
    "tickets": Case("LoRA and SC-LoRA on tickets", STEEP, FLAT, (3, 3, 4)),
    "tickets, single": Case("the same, one seed at the other rates", STEEP, FLAT, (1, 1, 4)),
    "tickets, written": Case("the same, where all answers are lost but at the lowest rate", *WRITTEN, (3, 3, 4)),
    "headlines": Case("LoRA and SC-LoRA on headlines, one seed at the other rates", PEAK, LATE, (1, 4, 1)),
}


def sampled(case: Case, generator: np.random.Generator) -> Task:
    """Records of one benchmark: its items, and what each run did on them."""
    items = ALIKE * generator.standard_normal(ITEMS)
    questions = EASE + generator.standard_normal(QUESTIONS)
    texts = np.exp(WINDOW * generator.standard_normal(case.texts) - WINDOW**2 / 2)
    truths = {LORA: case.lora} | {f"other-{number}": case.other for number in range(case.others)}
    runs = {}
    for method, truth in truths.items():
        own = texts * np.exp(OWN_WINDOW * generator.standard_normal(case.texts) - OWN_WINDOW**2 / 2)
        for at, (rate, seeds) in enumerate(zip(RATES, case.seeds, strict=True)):
            for seed in range(seeds):
                cell = Cell("made", method, rate, seed)
                columns = scores(truth, at, (items, questions, own), generator)
                runs[cell] = Run(cell, cast("Any", SHAPE), columns, {})
    entry = {"choose": {"suite": "test", "metric": METRIC, "lower_is_better": True}, "keep": [SUITE]}
    conditions = {"names": ["test"], "of": [0] * ITEMS}
    parts = {
        "task:test": {"conditions": conditions},
        f"keep:{SUITE}": {},
        WINDOWS: {"conditions": {"names": ["a"], "of": [0] * case.texts}},
    }
    return Task("made", entry, runs, parts)


SHAPE = SimpleNamespace(keep=[SimpleNamespace(name=SUITE, chance=CHANCE, metric=SimpleNamespace(name="accuracy"))])
"""What `evidence` asks of a result."""


def scores(
    truth: Truth, at: int, drawn: tuple[Floats, Floats, Floats], generator: np.random.Generator
) -> Mapping[str, Any]:
    """The columns of one run; harm and drift have the same luck, since a run that moves further does more of both."""
    items, questions, texts = drawn
    luck, put = generator.standard_normal(), PUT * generator.standard_normal(QUESTIONS) * (truth.harm[at] > 0)
    failed = at == len(RATES) - 1 and generator.random() < truth.fails
    harm = truth.harm[at] + truth.off(at) * luck + FURTHER * failed
    wide = math.sqrt(math.log1p(truth.luck**2))
    drift = truth.drift[at] * math.exp(wide * luck - wide**2 / 2) * texts * (1 + 2 * failed)
    own = truth.gain[at] * (1 - failed) * (1 + truth.gain_luck * generator.standard_normal()) + items
    about = RUN * generator.standard_normal(ITEMS), RUN * generator.standard_normal(len(texts)) - RUN**2 / 2
    return {
        "task:test": {METRIC: {"base": [0.0] * ITEMS, "tuned": list(-own - about[0])}},
        f"keep:{SUITE}": {"accuracy": {"base": _digits(questions > 0), "tuned": _digits(questions - harm + put > 0)}},
        WINDOWS: {KL: {"base": "-" * len(texts), "tuned": list(drift * np.exp(about[1]))}},
    }


def _digits(right: NDArray[np.bool_]) -> str:
    return "".join("1" if one else "0" for one in right)


def truth_of(case: Case, suite: str, base: tuple[float, float]) -> dict[str, float]:
    """The ratios that the figures are of, above the reference of that benchmark's own runs."""
    lora, other = case.lora.curve(suite), case.other.curve(suite)
    ours, theirs = matched(other, lora)
    return {
        "hypervolume": float(areas(other, base)[0] / areas(lora, base)[0]),
        "matched": float(ours[0] / theirs[0]),
    }


def repeat(case: Case, repetitions: int, draws: int) -> dict[str, list[Any]]:
    """What came of each repetition: for every figure where the truth lay, its p, and what was shown."""
    found: dict[str, list[Any]] = defaultdict(list)
    for number in range(repetitions):
        task = sampled(case, np.random.default_rng([7, number]))
        drawn = Draws(task, draws, number)
        names = [LORA, *(f"other-{one}" for one in range(case.others))]
        ratios = with_holm({suite: compared(task, names, suite, drawn) for suite in (SUITE, TEXT)})
        for suite in (SUITE, TEXT):
            true = truth_of(case, suite, reference(task, suite, drawn))
            for figure in ("hypervolume", "matched"):
                own = ratios[suite][names[1]].get(figure)
                side = None if own is None or own.interval is None else _side(own.interval, true[figure])
                off = math.nan if own is None else own.value / true[figure]
                found[f"{suite} {figure}"].append((side, None if own is None else own.p, off))
        shown = [one for own in ratios.values() for by in own.values() for one in by.values() if one.shown]
        found["shown"].append(bool(shown))
    return found


def _side(interval: tuple[float, float], true: float) -> int:
    """−1 where the truth lies below an interval, 1 above, 0 inside."""
    slack = 1e-9
    return -1 if true < interval[0] - slack else 1 if true > interval[1] + slack else 0


def told(name: str, case: Case, found: Mapping[str, Sequence[Any]]) -> list[str]:
    """The rows of the table of one case."""
    rows = []
    for figure, own in found.items():
        if figure == "shown":
            continue
        sides = [side for side, _, _ in own if side is not None]
        held = np.mean([side == 0 for side in sides]) if sides else math.nan
        below, above = (np.mean([side == one for side in sides]) if sides else math.nan for one in (-1, 1))
        low = np.mean([p is not None and p <= 0.05 for _, p, _ in own])
        least = np.mean([p is not None and p <= 0.01 for _, p, _ in own])
        off = np.nanmedian([one for _, _, one in own])
        cells = [f"{held:.3f}", f"{below:.3f}", f"{above:.3f}", f"{1 - len(sides) / len(own):.2f}", f"{off:.2f}"]
        cells += [f"{low:.3f}", f"{least:.3f}"] if case.same else ["–", "–"]
        rows.append(f"| {name} | {figure} | {' | '.join(cells)} |")
    shown = f"{np.mean(found['shown']):.3f}"
    return [*rows, f"| {name} | anything is shown | | | | | | {shown} | |"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    asked = parser.parse_args()
    head = ["case", "figure", "held", "truth below", "above", "no interval", "median off", "p ≤ .05", "p ≤ .01"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name in asked.cases:
        print("\n".join(told(name, CASES[name], repeat(CASES[name], asked.repetitions, asked.draws))), flush=True)


if __name__ == "__main__":
    main()
