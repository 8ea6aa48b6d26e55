"""The measures of one weight matrix against numpy in float64, and what must hold whatever the numbers are."""

import numpy as np
import pytest
import torch

from matrix_samples import SHAPES, drawn, intruders_by_definition
from retain.evaluate.drift.spectrum import against_base, largest_singular_value, left_singular_vectors


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [None, 1, 8])
def test_the_largest_singular_value_is_numpys(shape, rank):
    delta = drawn(shape, 1, rank)
    found = largest_singular_value(torch.from_numpy(delta).float())
    assert found == pytest.approx(np.linalg.svd(delta, compute_uv=False)[0], rel=2e-5)


def test_the_largest_singular_value_of_extreme_matrices():
    delta = torch.from_numpy(drawn((150, 140), 2))
    largest = np.linalg.svd(delta.numpy(), compute_uv=False)[0]
    assert largest_singular_value(torch.zeros(150, 140)) == 0
    assert largest_singular_value((delta * 1e-25).float()) == pytest.approx(largest * 1e-25, rel=1e-4)
    assert largest_singular_value((delta * 1e30).float()) == pytest.approx(largest * 1e30, rel=1e-4)
    assert largest_singular_value(torch.eye(150)) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_left_singular_vectors_span_the_columns(shape):
    U = left_singular_vectors(torch.from_numpy(drawn(shape, 3)).float())
    expected = np.linalg.svd(drawn(shape, 3), full_matrices=False)[0]
    np.testing.assert_allclose(np.abs((U.numpy() * expected).sum(axis=0)), 1, atol=1e-4)


def test_only_directions_of_the_column_space_are_given():
    U = left_singular_vectors(torch.from_numpy(drawn((40, 24), 4, rank=5)))
    assert U.shape == (40, 5)
    np.testing.assert_allclose((U.T @ U).numpy(), np.eye(5), atol=1e-8)
    assert left_singular_vectors(torch.zeros(6, 4)).shape == (6, 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rank", "size"), [(1, 10.0), (4, 2.0), (8, 0.3), (None, 1.0), (None, 0.1)])
def test_intruders_are_counted_as_defined(shape, rank, size):
    weight, delta = drawn(shape, 5), drawn(shape, 6, rank, size)
    seen = against_base(torch.from_numpy(weight), torch.from_numpy(delta))
    assert (seen.intruders, seen.of) == (intruders_by_definition(weight, delta), 10)


def test_one_new_leading_direction_is_one_intruder():
    left, _ = np.linalg.qr(drawn((60, 60), 7))
    right, _ = np.linalg.qr(drawn((60, 60), 8))
    weight = left @ np.diag(np.linspace(2, 1, 60)) @ right.T
    even = left @ np.full((60, 1), 60**-0.5)  # as like to each of W0's vectors: |cos| = .13
    pair = left[:, 30:32].sum(axis=1, keepdims=True) / 2**0.5  # |cos| = .71 to two of them
    for direction, expected in ((even, 1), (pair, 0)):
        delta = 100 * direction @ right[:, :1].T
        assert against_base(torch.from_numpy(weight), torch.from_numpy(delta)).intruders == expected


def test_column_leak_is_what_lies_outside_the_columns_of_the_base():
    weight, inside = drawn((50, 20), 9), drawn((20, 20), 10)
    full, _ = np.linalg.qr(np.hstack([weight, drawn((50, 30), 11)]))
    outside = full[:, 20:] @ drawn((30, 20), 12)
    W = torch.from_numpy(weight)
    assert against_base(W, torch.from_numpy(weight @ inside)).column_leak == pytest.approx(0, abs=1e-10)
    assert against_base(W, torch.from_numpy(outside)).column_leak == pytest.approx(1, abs=1e-10)
    delta = drawn((50, 20), 13)
    P = weight @ np.linalg.pinv(weight)
    expected = np.linalg.norm(delta - P @ delta) / np.linalg.norm(delta)
    assert against_base(W, torch.from_numpy(delta)).column_leak == pytest.approx(expected, rel=1e-8)


def test_column_leak_is_only_of_tall_layers_that_moved():
    for shape in ((20, 50), (20, 20)):
        assert against_base(torch.ones(shape), torch.ones(shape)).column_leak is None
    assert against_base(torch.from_numpy(drawn((50, 20), 1)), torch.zeros(50, 20)).column_leak is None
