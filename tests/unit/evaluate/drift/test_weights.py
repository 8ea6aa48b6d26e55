"""How far the weights moved: each layer, the sample of layers, the whole model."""

import numpy as np
import pytest
import torch

from matrix_samples import drawn, intruders_by_definition
from retain.evaluate.drift.weights import f_delta, measure_weights, sampled
from retain.hf.models.updates import Update


def update(weight, delta, name="layer"):
    return Update(name, torch.from_numpy(weight).float(), torch.from_numpy(delta).float())


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
