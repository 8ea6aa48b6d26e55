import math

import pytest
import torch

from retain.errors import InputError
from retain.train.regularise.dual_ascent import Dual


def solve(limit, steps=4000):
    """min ½|x − a|² subject to ½|x|² ≤ limit, by gradient steps with the dual's weight."""
    a = torch.tensor([3.0, 4.0], dtype=torch.float64)
    x, dual = a.clone(), Dual(limit, rate=0.02, smoothing=0.5)
    for _ in range(steps):
        x = x - 0.1 * ((x - a) + dual.weight * x)
        dual.update(float(x @ x) / 2)
    return a, x, dual


@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_it_finds_the_multiplier_known_in_closed_form(limit):
    a, x, dual = solve(limit)
    assert dual.weight == pytest.approx(float(a.norm()) / math.sqrt(2 * limit) - 1, rel=1e-3)
    assert float(x @ x) / 2 == pytest.approx(limit, rel=1e-3)


def test_a_limit_that_does_not_bind_lets_go():
    a, x, dual = solve(limit=50.0)
    assert dual.weight == dual.low
    torch.testing.assert_close(x, a, rtol=1e-3, atol=0)


def test_one_step_is_the_formula():
    dual = Dual(0.5, 2.0, rate=0.3, smoothing=0.0)
    assert dual.update(0.75) == pytest.approx(2 * math.exp(0.3 * 0.5))
    smooth = Dual(0.5, 2.0, rate=0.3, smoothing=0.9)
    smooth.update(0.5)
    smooth.update(1.5)
    assert smooth.smoothed == pytest.approx(0.6)
    assert smooth.weight == pytest.approx(2 * math.exp(0.3 * 0.2))


def test_it_stays_between_its_bounds():
    dual = Dual(1e-6, 1.0, high=5.0)
    assert dual.update(1e9) == 5.0


def test_it_goes_on_from_its_state():
    one, other = Dual(0.1), Dual(0.1)
    for kl in (0.2, 0.3, 0.05):
        one.update(kl)
    other.restore(one.state())
    assert other == one
    assert one.update(0.2) == other.update(0.2)


def test_every_wrong_number_is_named():
    with pytest.raises(InputError) as caught:
        Dual(0.0, weight=1e9, rate=0, smoothing=1)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["limit", "rate", "smoothing", "weight"]
