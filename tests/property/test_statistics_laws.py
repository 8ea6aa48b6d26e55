"""What must hold for any tokens, weights and batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.activations import moments as sums
from retain.methods.initialisations import corda_kpm, sc_lora

quick = settings(max_examples=25, deadline=None, derandomize=True)
sizes = st.integers(1, 7)
betas = st.one_of(st.sampled_from([0.0, 0.5, 0.8, 1.0]), st.floats(0, 1))


def randn(draw, *shape):
    """Normal numbers, some of them scaled up or to 0."""
    seed = draw(st.integers(0, 2**20))
    generator = np.random.default_rng(seed)
    scales = generator.choice([0.0, 1.0, 1.0, 10.0], size=shape[-1])
    return torch.from_numpy(generator.standard_normal(shape) * scales + draw(st.sampled_from([0.0, 1.0])))


@st.composite
def summed(draw, n=3):
    """Sums over some tokens, none perhaps."""
    tokens = randn(draw, draw(st.integers(0, 6)), n)
    held = sums.empty(n, torch.float64)
    sums.update(held, tokens, torch.arange(len(tokens)) // 2)
    return held


@st.composite
def problems(draw):
    """W (m, n), the second moments of its inputs over two sets of tokens, and a rank."""
    m, n = draw(sizes), draw(sizes)
    weight = randn(draw, m, n)
    plus, minus = ((x.T @ x) / len(x) for x in (randn(draw, draw(st.integers(1, 12)), n) for _ in range(2)))
    return weight, plus, minus, draw(st.integers(1, m))


def same(left, right):
    torch.testing.assert_close(left.gram, right.gram, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(left.total, right.total, rtol=1e-12, atol=1e-10)
    assert (left.weight, left.tokens) == (right.weight, right.tokens)
    assert left.energy == pytest.approx(right.energy)


def random_subspace(m, r, seed):
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).standard_normal((m, r)))[0])


def covariance(weight, moment):
    return (weight @ moment @ weight.T).numpy()


def reward(Q, weight, moment):
    return sc_lora.captured(sc_lora.factors_in(Q, weight)[0], moment)


def slack(weight, *moments):
    """Rounding: a part of the largest reward there can be."""
    return 1e-10 * sum(sc_lora.trace(weight, moment) for moment in moments) + 1e-12


@quick
@given(summed(), summed(), summed())
def test_sums_are_added_up_in_any_order_and_grouping(a, b, c):
    same(sums.merge(a, b), sums.merge(b, a))
    same(sums.merge(sums.merge(a, b), c), sums.merge(a, sums.merge(b, c)))
    same(sums.merge(a, sums.empty(3, torch.float64)), a)


@quick
@given(st.data())
def test_any_division_into_batches_gives_the_same_moment(data):
    n = data.draw(sizes)
    tokens = randn(data.draw, data.draw(st.integers(1, 20)), n)
    order = torch.tensor(data.draw(st.permutations(range(len(tokens)))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(tokens)), max_size=4)))
    held, scaled = sums.empty(n, torch.float64), sums.empty(n, torch.float64)
    for part in torch.tensor_split(order, cuts):
        sums.update(held, tokens[part], torch.zeros(len(part), dtype=torch.long))
        sums.update(scaled, tokens[part], torch.arange(len(part)), torch.full((len(part),), 0.5, dtype=torch.float64))
    augmented = torch.cat([tokens, torch.ones(len(tokens), 1)], dim=1)
    expected = augmented.T @ augmented / len(tokens)
    torch.testing.assert_close(sums.second_moment(held, bias=True), expected, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(sums.second_moment(held, bias=False), expected[:n, :n], rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(sums.second_moment(scaled, bias=True), expected / 4, rtol=1e-12, atol=1e-10)


@quick
@given(problems())
def test_beta_0_takes_the_principal_components_of_the_text_to_learn(problem):
    weight, plus, minus, r = problem
    Q = sc_lora.subspace(weight, sc_lora.contrast(plus, minus, 0.0), r).vectors
    U, values, _ = np.linalg.svd(covariance(weight, plus))
    assert reward(Q, weight, plus) == pytest.approx(values[:r].sum(), abs=slack(weight, plus))
    if r == len(values) or values[r - 1] - values[r] > 1e-3 * values[0]:
        np.testing.assert_allclose((Q @ Q.T).numpy(), U[:, :r] @ U[:, :r].T, atol=1e-7)


@quick
@given(problems(), st.integers(0, 100))
def test_beta_1_takes_what_the_text_to_keep_uses_least(problem, seed):
    weight, plus, minus, r = problem
    Q = sc_lora.subspace(weight, sc_lora.contrast(plus, minus, 1.0), r).vectors
    used = reward(Q, weight, minus)
    least = np.linalg.eigvalsh(covariance(weight, minus))[:r].sum()
    assert used == pytest.approx(least, abs=slack(weight, minus))
    assert used <= reward(random_subspace(len(weight), r, seed), weight, minus) + slack(weight, minus)


@quick
@given(problems(), betas, st.integers(0, 100))
def test_no_other_subspace_has_a_larger_reward(problem, beta, seed):
    weight, plus, minus, r = problem
    delta = sc_lora.contrast(plus, minus, beta)
    best = reward(sc_lora.subspace(weight, delta, r).vectors, weight, delta)
    r_corda = min(r, *weight.shape)
    B0 = corda_kpm.corda_kpm(weight, minus + 1e-9 * torch.eye(len(minus)), r_corda)[1]
    corda = torch.linalg.qr(torch.cat([B0, random_subspace(len(weight), r - r_corda, seed)], dim=1)).Q
    for other in (random_subspace(len(weight), r, seed), torch.eye(len(weight), dtype=torch.float64)[:, :r], corda):
        assert best >= reward(other, weight, delta) - slack(weight, plus, minus)


@quick
@given(problems(), betas)
def test_the_start_is_the_weight_seen_through_an_orthonormal_basis(problem, beta):
    weight, plus, minus, r = problem
    Q = sc_lora.subspace(weight, sc_lora.contrast(plus, minus, beta), r).vectors
    A0, B0 = sc_lora.factors_in(Q, weight)
    torch.testing.assert_close(B0.T @ B0, torch.eye(r, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(B0 @ A0, Q @ Q.T @ weight, rtol=0, atol=1e-9)
    if r == len(weight):
        torch.testing.assert_close(B0 @ A0, weight, rtol=0, atol=1e-9)
