"""The made-up benchmarks on which the page's intervals are tested: their truth is what their runs show on average."""

from dataclasses import replace

import numpy as np
import pytest
from coverage import CASES, FAILING, SUITE, Case, _side, repeat, sampled, told, truth_of
from evidence import TEXT, Draws
from plan import LORA
from whole import curve, reference


@pytest.mark.parametrize("truth", [CASES["tickets"].lora, CASES["tickets"].other, FAILING])
def test_runs_show_on_average_what_is_taken_for_the_truth(truth):
    case = Case("", truth, truth, (12, 12, 12))
    found = {SUITE: [], TEXT: []}
    for number in range(40):
        task = sampled(case, np.random.default_rng(number))
        for suite, own in found.items():
            one = curve(task, LORA, suite, Draws(task, 1, 0), np.random.default_rng(0))
            own.append(np.stack([one.gain[:, 0], one.kept[:, 0]]))
    for suite, own in found.items():
        true, mean = truth.curve(suite), np.mean(own, axis=0)
        assert mean[0] == pytest.approx(true.gain[:, 0], rel=0.05)
        wide = {"abs": 0.04} if suite == SUITE else {"rel": 0.08}
        assert mean[1] == pytest.approx(true.kept[:, 0], **wide)


def test_methods_alike_have_a_true_ratio_of_1_and_others_have_that_by_hand():
    assert truth_of(CASES["same"], TEXT, (0.0, -0.5)) == {"hypervolume": 1.0, "matched": 1.0}
    lora = CASES["same"].lora
    half = Case("", lora, replace(lora, drift=tuple(one / 2 for one in lora.drift)), (3, 3, 3))
    task = sampled(half, np.random.default_rng(0))
    assert truth_of(half, TEXT, reference(task, TEXT, Draws(task, 1, 0)))["matched"] == pytest.approx(0.5)


def test_the_table_says_on_which_side_of_intervals_the_truth_lay():
    assert [_side((0.5, 2.0), true) for true in (0.4, 0.5, 1.0, 2.1)] == [-1, 0, 0, 1]
    case = CASES["same"]
    rows = told("same", case, repeat(case, 3, 40))
    assert rows[-1].startswith("| same | anything is shown |")
    known = {"facts hypervolume": [(0, 0.2, 1.0), (1, 0.02, 0.5), (None, None, 2.0)], "shown": [True, False, False]}
    assert (
        told("same", case, known)[0]
        == "| same | facts hypervolume | 0.500 | 0.000 | 0.500 | 0.33 | 1.00 | 0.333 | 0.000 |"
    )
