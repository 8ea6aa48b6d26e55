"""The equations of a rotation in float64, against matrices written out: related work's oracles, and what must hold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.methods.rotation import equations

DOUBLE = torch.float64


def draw(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=DOUBLE) for shape in shapes]


def turned(seed, sizes):
    """D = Q − I for each size, from random K."""
    values = draw(seed, *((equations.numbers_of([size]),) for size in sizes))
    return [equations.cayley(equations.skew(v, size)[0]) for v, size in zip(values, sizes, strict=True)]


def full(D, form):
    """R (n, n), written out by torch's own functions."""
    Q = [torch.eye(len(part), dtype=DOUBLE) + part for part in D]
    if form == "block":
        return torch.block_diag(*Q)
    R = torch.eye(1, dtype=DOUBLE)
    for part in Q:
        R = torch.kron(R, part)
    return R


def shifted(rows, D, form):
    return equations.block_shift(rows, torch.stack(D)) if form == "block" else equations.kronecker_shift(rows, D)


CASES = [("block", (4,) * 3), ("block", (5,)), ("kronecker", (8, 8, 10)), ("kronecker", (2, 3)), ("kronecker", (7,))]


@pytest.mark.parametrize(("form", "sizes"), CASES)
def test_the_cheap_path_is_the_full_matrix_and_keeps_norms_and_singular_values(form, sizes):
    D = turned(3, sizes)
    R = full(D, form)
    x, W0 = draw(4, (2, 3, len(R)), (11, len(R)))
    changed = W0 + shifted(W0, [part.mT for part in D], form)
    torch.testing.assert_close(shifted(x, D, form), x @ R - x, rtol=0, atol=1e-13)
    torch.testing.assert_close(changed, W0 @ R.mT, rtol=0, atol=1e-13)
    torch.testing.assert_close((x + shifted(x, D, form)).norm(dim=-1), x.norm(dim=-1), rtol=1e-14, atol=0)
    largest = float(torch.linalg.svdvals(W0)[0])
    values = [torch.linalg.svdvals(each) for each in (changed, W0)]
    torch.testing.assert_close(*values, rtol=0, atol=1e-14 * largest)
    back = x + shifted(x, D, form)
    torch.testing.assert_close(back + shifted(back, [part.mT for part in D], form), x, rtol=0, atol=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.floats(1e-6, 30), st.integers(0, 2**31))
def test_cayley_gives_rotations_and_the_negative_undoes_them(size, scale, seed):
    (values,) = draw(seed, (equations.numbers_of([size]),))
    K = equations.skew(scale * values, size)[0]
    identity = torch.eye(size, dtype=DOUBLE)
    Q = identity + equations.cayley(K)
    torch.testing.assert_close(Q, (identity - K) @ torch.linalg.inv(identity + K), rtol=0, atol=1e-11)
    torch.testing.assert_close(Q @ Q.mT, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(identity + equations.cayley(-K), Q.mT, rtol=0, atol=1e-12)
    assert float(torch.linalg.det(Q)) == pytest.approx(1)


def test_a_plane_turns_by_twice_the_arc_tangent():
    """K = [[0, t], [−t, 0]] is the rotation by 2·arctan t: by hand."""
    D = equations.cayley(equations.skew(torch.tensor([math.tan(math.pi / 6)], dtype=DOUBLE), 2)[0])
    row = torch.tensor([1.0, 0.0], dtype=DOUBLE)
    expected = torch.tensor([math.cos(math.pi / 3), -math.sin(math.pi / 3)], dtype=DOUBLE)
    torch.testing.assert_close(row + row @ D, expected, rtol=0, atol=1e-15)


def test_no_rotation_is_the_identity_and_small_ones_keep_their_digits():
    (x,) = draw(1, (4, 6))
    for form, sizes in (("block", (2, 2, 2)), ("kronecker", (2, 3))):
        D = [torch.zeros(size, size, dtype=DOUBLE) for size in sizes]
        assert torch.equal(x + shifted(x, D, form), x)
    tiny = equations.cayley(equations.skew(torch.tensor([1e-9]), 2)[0])  # float32: 1 − 2e-18 is 1 there
    torch.testing.assert_close(tiny[0, 1], torch.tensor(-2e-9), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("width", "count", "sizes"),
    [
        (640, 3, (8, 8, 10)),
        (768, 3, (8, 8, 12)),
        (2048, 3, (8, 16, 16)),
        (576, 2, (24, 24)),
        (12, 1, (12,)),
        (6, 3, (2, 3)),
        (1031, 3, (1031,)),  # a prime: one factor of full width
    ],
)
def test_kronecker_sizes_have_the_least_sum(width, count, sizes):
    assert equations.kronecker_sizes(width, count) == sizes


def test_block_sizes_divide_the_width():
    assert [equations.block_size(width, 32) for width in (640, 48, 20, 1031)] == [32, 24, 20, 1]
