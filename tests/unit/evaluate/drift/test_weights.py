"""The measures of one weight matrix against numpy in float64, and what must hold whatever the numbers are."""

import numpy as np
import pytest
import torch

from retain.evaluate.drift.spectrum import against_base, largest_singular_value, left_singular_vectors
from retain.evaluate.drift.weights import f_delta, measure_weights, sampled
from retain.hf.models.updates import Update

SHAPES = [(40, 24), (24, 40), (30, 30), (300, 200), (200, 300), (190, 190)]


def drawn(shape, seed, rank=None, size=1.0):
    rng = np.random.default_rng(seed)
    if rank is None:
        return size * rng.standard_normal(shape)
    return size * rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))


def update(weight, delta, name="layer"):
    return Update(name, torch.from_numpy(weight).float(), torch.from_numpy(delta).float())


def intruders_by_definition(weight, delta):
    before = np.linalg.svd(weight, full_matrices=False)[0]
    after = np.linalg.svd(weight + delta, full_matrices=False)[0][:, :10]
    return int((np.abs(before.T @ after).max(axis=0) < 0.5).sum())


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


def test_f_delta_is_the_mean_over_inputs_that_are_not_zero():
    delta, x = drawn((6, 4), 14), drawn((9, 4), 15)
    expected = np.mean([np.linalg.norm(delta @ row) / np.linalg.norm(row) for row in x])
    with_zero = torch.from_numpy(np.vstack([x, np.zeros((1, 4))]))
    assert f_delta(torch.from_numpy(delta), with_zero) == pytest.approx(expected, rel=1e-12)
    assert f_delta(torch.from_numpy(delta), None) is None
    assert f_delta(torch.from_numpy(delta), torch.zeros(2, 4)) is None


@pytest.mark.parametrize("kinds", [2, 3, 4, 6, 7])
def test_the_sample_of_layers_is_even_and_meets_many_kinds(kinds):
    names = [f"{block}.{kind}" for block in range(30) for kind in range(kinds)]
    chosen = sorted(names.index(name) for name in sampled(names))
    assert len(chosen) == 12
    assert all(i * len(names) / 12 - 1 < place < (i + 1) * len(names) / 12 for i, place in enumerate(chosen))
    assert len({place % kinds for place in chosen}) == kinds
    assert [len(sampled(names[:count])) for count in (5, 12, 13, 14, 23, 25)] == [5, 12, 12, 12, 12, 12]


def test_the_model_is_the_sum_of_its_layers():
    weights = [drawn((12, 8), 16), drawn((8, 12), 17), drawn((10, 10), 18)]
    deltas = [drawn((12, 8), 19, 1), drawn((8, 12), 20, 3), np.zeros((10, 10))]
    names = ["base_model.model.a", "b", "c"]
    keep = {"base_model.model.a": torch.from_numpy(drawn((5, 8), 21)), "b": torch.from_numpy(drawn((5, 12), 22))}
    ticks = []
    found = measure_weights(
        names,
        [update(*three) for three in zip(weights, deltas, names, strict=True)],
        keep,
        {"c": torch.ones(2, 10)},
        lambda: ticks.append(1),
    )
    square = [np.square(matrix).sum() for matrix in (*deltas, *weights)]
    assert found.update_relative_frobenius == pytest.approx((sum(square[:3]) / sum(square[3:])) ** 0.5, rel=1e-6)
    sigma = [np.linalg.svd(delta, compute_uv=False)[0] for delta in deltas]
    assert found.sigma_max == pytest.approx(max(sigma), rel=1e-5)
    assert found.stable_rank == pytest.approx(np.mean([square[0] / sigma[0] ** 2, square[1] / sigma[1] ** 2]), rel=1e-5)
    assert [layer.name for layer in found.layers] == ["a", "b", "c"]
    assert found.layers[0].stable_rank == pytest.approx(1, rel=1e-5)
    assert found.layers[2].model_dump(exclude={"name"}) == {
        "relative_frobenius": 0,
        "sigma_max": 0,
        "stable_rank": 0,
        "f_delta_keep": None,
        "f_delta_learn": 0,
        "intruders": 0,
        "column_leak": None,
    }
    each = [layer.f_delta_keep for layer in found.layers[:2]]
    assert found.f_delta == pytest.approx(np.mean(each))
    assert found.f_delta_learn == 0
    assert found.column_leak == found.layers[0].column_leak > 0
    assert (found.intruders_of, found.note, len(ticks)) == (8 + 8 + 10, "", 3)
    assert found.intruders == sum(map(intruders_by_definition, weights, deltas))


def test_a_sample_of_many_layers_is_said_to_be_one():
    names = [f"layer{i}" for i in range(40)]
    found = measure_weights(
        names, [update(drawn((6, 4), i), drawn((6, 4), i + 40), names[i]) for i in range(40)], {}, {}
    )
    assert sum(layer.intruders is not None for layer in found.layers) == 12
    assert found.intruders_of == 12 * 4
    assert "12 of 40 changed layers" in found.note
    assert (found.f_delta, found.f_delta_learn) == (None, None)


def test_what_is_too_large_to_decompose_is_said(monkeypatch):
    monkeypatch.setattr("retain.evaluate.drift.spectrum.DECOMPOSED_LIMIT", 3)
    found = measure_weights(["layer"], [update(drawn((6, 4), 0), drawn((6, 4), 1))], {}, {})
    assert (found.intruders, found.intruders_of, found.column_leak) == (None, None, None)
    assert "too large" in found.note
    assert found.sigma_max > 0
