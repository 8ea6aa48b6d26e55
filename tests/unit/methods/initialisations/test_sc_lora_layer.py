"""SC-LoRA's factors of one layer: the same from moments of inputs and of outputs, formed or not, with right facts."""

import pytest
import torch

from retain.linalg.subspaces import subspace_overlap
from retain.methods.initialisations import sc_lora
from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import FrozenLayer

CONFIG = SCLoRAConfig(r=3, beta=0.6)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(*, bias, of_outputs=False):
    W0, b = randn(5, 7), randn(5, seed=1) if bias else None
    inputs = {text: randn(40, 7, seed=seed) for seed, text in ((2, "learn"), (3, "keep"))}
    extended = {text: torch.cat([x, torch.ones(40, 1)], dim=1) if bias else x for text, x in inputs.items()}
    moments = {text: x.T @ x / 40 for text, x in extended.items()}
    if of_outputs:
        W = sc_lora.with_bias(W0, b)
        moments = {text: W @ moment @ W.T for text, moment in moments.items()}
    return FrozenLayer("layer", W0, b, moments, of_outputs)


@pytest.mark.parametrize("bias", [True, False])
def test_moments_of_inputs_and_of_outputs_give_one_subspace(bias):
    by_inputs = sc_lora.initialise(layer(bias=bias), CONFIG)
    by_outputs = sc_lora.initialise(layer(bias=bias, of_outputs=True), CONFIG)
    assert subspace_overlap(by_inputs.B, by_outputs.B) == pytest.approx(1)
    assert by_inputs.facts.reward == pytest.approx(by_outputs.facts.reward)


@pytest.mark.parametrize("bias", [True, False])
def test_without_forming_the_outputs_moments_it_is_the_same(bias, monkeypatch):
    formed = sc_lora.initialise(layer(bias=bias), CONFIG)
    monkeypatch.setattr(sc_lora, "DENSE_LIMIT", 1)
    unformed = sc_lora.initialise(layer(bias=bias), CONFIG)
    assert subspace_overlap(formed.B, unformed.B) == pytest.approx(1)
    for name in ("trace_learn", "trace_keep", "share_learn", "share_keep", "reward"):
        assert getattr(unformed.facts, name) == pytest.approx(getattr(formed.facts, name), rel=1e-4)


def test_factors_lie_in_the_subspace_and_the_facts_are_its_own():
    here = layer(bias=True)
    A, B, facts = sc_lora.initialise(here, CONFIG)
    torch.testing.assert_close(A, B.T @ here.weight)
    W = sc_lora.with_bias(here.weight, here.bias)
    outputs = {text: W @ moment @ W.T for text, moment in here.moments.items()}
    delta = sc_lora.contrast(outputs["learn"], outputs["keep"], CONFIG.beta)
    assert facts.reward == pytest.approx(float((B.T @ delta @ B).trace()))
    assert facts.trace_keep == pytest.approx(float(outputs["keep"].trace()))
    assert facts.share_learn == pytest.approx(float((B.T @ outputs["learn"] @ B).trace() / outputs["learn"].trace()))
    assert sum(facts.eigenvalues) == pytest.approx(facts.reward)
