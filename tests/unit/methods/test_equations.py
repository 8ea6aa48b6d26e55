"""The pure equations against one another and against what they must mean."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.methods.lorfa import equations as lorfa
from retain.methods.vefa import equations as vefa

SIZES = st.integers(1, 6)


def draw(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, SIZES, st.integers(0, 2**31))
def test_vefa_shifts_the_input_as_it_changes_the_weight(rows, n, m, seed):
    x, W, lam = draw(seed, (rows, n), (m, n), (n,))
    close(vefa.shift(x, lam) @ W.T, x @ vefa.weight_change(W, lam).T)
    close(W + vefa.weight_change(W, lam), W @ torch.diag(1 + lam))


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 2**31))
def test_lorfa_shifts_the_input_as_it_changes_the_weight(rows, n, m, r, seed):
    x, W, A, B = draw(seed, (rows, n), (m, n), (r, n), (n, r))
    change = lorfa.weight_change(W, A, B)
    close(lorfa.shift(x, A, B) @ W.T, x @ change.T)
    close(lorfa.projected_shift(x @ A.T, B.T, W), x @ change.T)
    assert torch.linalg.matrix_rank(change) <= r


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.floats(-3, 3), st.integers(0, 2**31))
def test_shifts_are_linear_in_the_input_and_leave_zero_alone(n, r, factor, seed):
    x, y, lam, A, B = draw(seed, (n,), (n,), (n,), (r, n), (n, r))
    for shift in (lambda v: vefa.shift(v, lam), lambda v: lorfa.shift(v, A, B)):
        close(shift(factor * x + y), factor * shift(x) + shift(y))
        assert not shift(torch.zeros_like(x)).any()


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.integers(0, 2**31))
def test_an_untrained_method_is_the_identity(n, r, seed):
    x, A = draw(seed, (n,), (r, n))
    assert torch.equal(x + vefa.shift(x, torch.zeros(n)), x)
    assert torch.equal(x + lorfa.shift(x, A, torch.zeros(n, r, dtype=torch.float64)), x)


def test_small_amounts_survive_in_float32():
    W, lam = torch.ones(1, 1), torch.tensor([1e-9])
    assert vefa.weight_change(W, lam).item() > 0
