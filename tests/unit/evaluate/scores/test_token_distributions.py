"""Token-level quantities against values worked out by hand, and against torch in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from retain.errors import InputError
from retain.evaluate.scores import token_distributions as tokens
from retain.evaluate.scores.token_distributions import churn, compare_tokens, kl, shifted_nll


def logs(*rows):
    """One sequence of logits, given as probabilities: (1, T, V)."""
    return torch.tensor([rows], dtype=torch.float64).log()


def random_logits(shape, seed, dtype=torch.float32, scale=3.0):
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


def test_nll_by_hand():
    # Three tokens 2, 0, 1 of a vocabulary of three. Position 1 gives the second token (0) ½, position 2 gives the third
    # (1) ¼: ln 2 and ln 4. What position 3 says has no token to be held against; the first token is not predicted.
    logits = logs([0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8])
    nll, mask = shifted_nll(logits, torch.tensor([[2, 0, 1]]))
    torch.testing.assert_close(nll, torch.tensor([[math.log(2), math.log(4)]], dtype=torch.float64))
    assert mask.tolist() == [[True, True]]


def test_ignored_labels_count_nothing():
    logits = logs([0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8])
    nll, mask = shifted_nll(logits, torch.tensor([[-100, -100, 1]]))
    torch.testing.assert_close(nll, torch.tensor([[0.0, math.log(4)]], dtype=torch.float64))
    assert mask.tolist() == [[False, True]]


def test_an_ignored_position_is_zero_even_where_the_model_is_broken():
    logits = torch.tensor([[[math.nan, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    nll, _ = shifted_nll(logits, torch.tensor([[0, -100, 1]]))
    torch.testing.assert_close(nll, torch.tensor([[0.0, math.log(2)]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_nll_against_torch(dtype):
    logits = random_logits((3, 7, 11), 0, dtype)
    labels = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(1))
    labels[0, :3] = -100
    nll, mask = shifted_nll(logits, labels)
    expected = functional.cross_entropy(
        logits[:, :-1].double().flatten(0, 1), labels[:, 1:].flatten(), reduction="none", ignore_index=-100
    )
    torch.testing.assert_close(nll.double().flatten(), expected, rtol=1e-5, atol=1e-5)
    assert nll.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(mask, labels[:, 1:] != -100)


def test_kl_by_hand():
    # p = (½, ¼, ¼), q = (¼, ¼, ½): ½ ln 2 + ¼ ln 1 + ¼ ln ½ = ¼ ln 2.
    # Third position: p = (1, 0, 0), q = (½, ½, 0): ln 2.
    base = logs([0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0])
    tuned = logs([0.25, 0.25, 0.5], [0.2, 0.3, 0.5], [0.5, 0.5, 0.0])
    expected = torch.tensor([[math.log(2) / 4, 0.0, math.log(2)]], dtype=torch.float64)
    torch.testing.assert_close(kl(base, tuned), expected)


def test_kl_looks_from_the_base():
    base, tuned = logs([0.9, 0.1]), logs([0.5, 0.5])
    forward = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    assert kl(base, tuned).item() == pytest.approx(forward)
    assert kl(tuned, base).item() == pytest.approx(0.5 * math.log(1 / 1.8) + 0.5 * math.log(5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_kl_against_torch(dtype, scale):
    base, tuned = random_logits((2, 5, 300), 0, dtype, scale), random_logits((2, 5, 300), 1, dtype, scale)
    log_p, log_q = base.double().log_softmax(-1), tuned.double().log_softmax(-1)
    expected = functional.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(kl(base, tuned).double(), expected, rtol=2e-6, atol=5e-7)


def test_a_small_drift_is_not_drowned_in_rounding():
    base = random_logits((1, 20, 49_152), 0)
    tuned = base + random_logits((1, 20, 49_152), 1, scale=1e-2)
    log_p, log_q = base.double().log_softmax(-1), tuned.double().log_softmax(-1)
    expected = (log_p.exp() * (log_p - log_q)).sum(-1)
    assert expected.max() < 1e-3
    torch.testing.assert_close(kl(base, tuned).double(), expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_logits_do_not_drift_at_all(dtype):
    logits = random_logits((2, 9, 5000), 0, dtype)
    assert (kl(logits, logits.clone()) == 0).all()
    assert not churn(logits, logits.clone()).any()


def test_kl_is_infinite_where_only_the_tuned_model_rules_a_token_out():
    assert kl(logs([0.5, 0.5]), logs([1.0, 0.0])).item() == math.inf


def test_a_broken_output_is_not_hidden():
    good, broken = torch.zeros(1, 1, 3), torch.tensor([[[0.0, math.nan, 0.0]]])
    assert kl(good, broken).isnan().all()
    assert kl(broken, good).isnan().all()


def test_churn_by_hand():
    base = logs([0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2])
    tuned = logs([0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2])
    assert churn(base, tuned).tolist() == [[False, True, False]]


@pytest.mark.parametrize("elements", [1, 60, 10**9])
def test_chunks_change_nothing(monkeypatch, elements):
    base, tuned = random_logits((2, 7, 15), 0), random_logits((2, 7, 15), 1)
    labels = torch.randint(15, (2, 7), generator=torch.Generator().manual_seed(2))
    whole = shifted_nll(base, labels)[0], kl(base, tuned), churn(base, tuned)
    monkeypatch.setattr(tokens, "CHUNK_ELEMENTS", elements)
    for expected, found in zip(whole, (shifted_nll(base, labels)[0], kl(base, tuned), churn(base, tuned)), strict=True):
        assert torch.equal(expected, found)


def test_no_float32_copy_of_all_logits_exists(monkeypatch):
    raised = []

    def recording(logits):
        raised.append(logits.numel())
        return logits.log_softmax(-1, dtype=torch.float32)

    monkeypatch.setattr(tokens, "CHUNK_ELEMENTS", 100)
    monkeypatch.setattr(tokens, "_log_softmax", recording)
    logits = random_logits((2, 50, 10), 0, torch.bfloat16)
    shifted_nll(logits, torch.zeros(2, 50, dtype=torch.long))
    kl(logits, logits)
    assert max(raised) <= 100


def test_vocabularies_that_differ_are_named():
    with pytest.raises(InputError, match="10 and 11 tokens"):
        kl(torch.zeros(1, 2, 10), torch.zeros(1, 2, 11))
    with pytest.raises(InputError, match="vocabularies"):
        churn(torch.zeros(1, 2, 10), torch.zeros(1, 2, 11))


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="expected"):
        shifted_nll(torch.zeros(1, 2, 10), torch.zeros(1, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="expected"):
        kl(torch.zeros(1, 2, 10), torch.zeros(1, 3, 10))


@pytest.mark.parametrize("elements", [1, 60, 10**9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_models_at_once_are_each_by_itself(monkeypatch, elements, dtype):
    monkeypatch.setattr(tokens, "CHUNK_ELEMENTS", elements)
    base, tuned = random_logits((2, 7, 15), 0, dtype), random_logits((2, 7, 15), 1, dtype)
    labels = torch.randint(15, (2, 7), generator=torch.Generator().manual_seed(2))
    labels[1, 4:] = -100
    found = compare_tokens(base, tuned, labels)
    assert torch.equal(found.base_nll, shifted_nll(base, labels)[0])
    assert torch.equal(found.tuned_nll, shifted_nll(tuned, labels)[0])
    assert torch.equal(found.kl, kl(base[:, :-1], tuned[:, :-1]))
    assert torch.equal(found.churn, churn(base[:, :-1], tuned[:, :-1]))
    assert torch.equal(found.mask, labels[:, 1:] != -100)


def test_both_models_at_once_take_one_softmax_each(monkeypatch):
    taken = []
    monkeypatch.setattr(tokens, "_log_softmax", lambda logits: taken.append(1) or logits.log_softmax(-1))
    logits = random_logits((2, 7, 15), 0)
    compare_tokens(logits, logits, torch.zeros(2, 7, dtype=torch.long))
    assert len(taken) == 2


def test_both_models_at_once_refuse_what_does_not_belong_together():
    with pytest.raises(InputError, match="10 and 11 tokens"):
        compare_tokens(torch.zeros(1, 2, 10), torch.zeros(1, 2, 11), torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="labels"):
        compare_tokens(torch.zeros(1, 2, 10), torch.zeros(1, 2, 10), torch.zeros(1, 3, dtype=torch.long))
