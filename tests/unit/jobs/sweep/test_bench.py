"""Gains over the base, and the recipe of a candidate; the bench itself is tested through `retain advise`."""

import math

import pytest

from retain.jobs.sweep.bench import WARM_UP, run_candidate
from retain.jobs.sweep.losses import Losses
from retain.recipe import Recipe

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


def test_a_gain_is_a_ratio_of_sums_with_its_error():
    gain, error = Losses([1.0, 2.0], [1, 3]).gain_over(Losses([2.0, 5.0], [1, 3]))
    assert gain == 1.0  # (1 + 3) / (1 + 3): each token gains one nat, so it does not vary
    assert error == 0.0
    gain, error = Losses([0.0, 0.0, 0.0], [1, 1, 1]).gain_over(Losses([1.0, 2.0, 3.0], [1, 1, 1]))
    assert gain == 2.0
    assert error == pytest.approx(1 / math.sqrt(3))  # the standard error of a mean of 1, 2, 3


def test_a_mean_loss_weighs_rows_by_their_tokens():
    assert Losses([1.0, 5.0], [1, 3]).mean == 1.5


@pytest.mark.parametrize(("steps", "warm_up"), [(4 * WARM_UP - 1, 0), (4 * WARM_UP, WARM_UP)])
def test_a_candidate_learns_at_a_constant_rate(steps, warm_up):
    training = {"lr_scheduler_type": "cosine", "warmup_ratio": 0.5, "weight_decay": 0.1}
    run = run_candidate(Recipe(**BASIC, training=training, epochs=9.0), steps)
    constant = {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": warm_up}
    assert run.training == {"weight_decay": 0.1, **constant, "report_to": "none"}
    assert run.max_steps == steps
