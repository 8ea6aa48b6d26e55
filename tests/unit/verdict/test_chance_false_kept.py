"""Models that never read, on suites of every skew: above chance in at most 5 %, and never kept.

`python tests/unit/verdict/test_chance_false_kept.py 20000` repeats the simulation that docs/concepts/evidence.md tells.
"""

from __future__ import annotations

import sys

import numpy as np

from retain.evaluate.scores import without_reading
from retain.records.metrics_table import ACCURACY
from retain.verdict.column import Column
from retain.verdict.evidence import evaluate
from retain.verdict.judge import RunEvidence, judge_run
from retain.verdict.status import base_guesses
from retain.verdict.verdict import Margins

TEXTS = ["no", "yes", "maybe", "a longer one", "the longest of all of them"]


def simulated(seed: int) -> tuple[bool, bool]:
    """One suite with skewed answers, answered by a model that does not read and never changes: (above chance, kept)."""
    draw = np.random.default_rng(seed)
    n, k = int(draw.choice([24, 60, 150, 400])), int(draw.choice([2, 4]))
    letters = draw.dirichlet([draw.choice([0.3, 3.0, 100.0])] * k)
    answers = draw.choice(k, size=n, p=letters)
    choices = [[TEXTS[j] for j in draw.permutation(len(TEXTS))[:k]] for _ in range(n)]
    questions = ["; ".join(f"{chr(65 + j)} {text}" for j, text in enumerate(options)) for options in choices]
    found = without_reading.best(without_reading.of_choices(choices, answers.tolist(), questions))
    habit = draw.dirichlet([0.3] * k)  # how often the model says each letter
    length = draw.choice([-1.0, 0.0, 1.0]) * draw.exponential()  # and how it likes long ones
    right = np.empty(n)
    for place, options in enumerate(choices):
        liking = np.log(habit + 1e-12) + length * np.asarray([len(option) for option in options]) / 5
        odds = np.exp(liking - liking.max())
        right[place] = draw.choice(k, p=odds / odds.sum()) == answers[place]
    evidence = evaluate(Column("s", ACCURACY, right, right, found.mean), np.random.default_rng(0))
    verdict = judge_run(RunEvidence(keep=(evidence,)), Margins()).overall
    return not base_guesses(evidence), verdict == "kept"


def test_models_that_never_read_are_at_chance_and_never_kept():
    above, kept = np.asarray([simulated(seed) for seed in range(400)]).sum(axis=0)
    assert above <= 400 * 0.05
    assert kept == 0


if __name__ == "__main__":
    runs = int(sys.argv[1])
    above, kept = np.asarray([simulated(seed) for seed in range(runs)]).sum(axis=0)
    sys.stdout.write(f"of {runs} models that never read {above} were above chance, {kept} kept\n")
