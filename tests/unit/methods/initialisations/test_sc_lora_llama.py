"""A tiny Llama, read by hooks of our own one unpadded sentence at a time, against retain on padded batches."""

import numpy as np
import pytest
import sc_lora_oracle as oracle
import torch

from calibration import batches, inputs_of, llama, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect

pytestmark = pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
LEARN, KEEP = sentences(24, seed=1), sentences(30, seed=2)
NAMES = [
    f"model.layers.{number}.{part}"
    for number in (0, 1)
    for part in ("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
]
TARGETS = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
BIASES = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])


def make(bias):
    return llama(attention_bias=bias, mlp_bias=bias)


def covariances(model, rows, sample_norm="none"):
    read, found = inputs_of(model, NAMES, rows), {}
    for name in NAMES:
        weight, bias = parts(model.get_submodule(name))
        found[name] = oracle.covariance(weight, bias, [x.numpy() for x in read[name]], sample_norm)
    return found


def parts(layer):
    return layer.weight.detach().numpy(), None if layer.bias is None else layer.bias.detach().numpy()


@BIASES
@pytest.mark.parametrize("sample_norm", ["none", "max"])
def test_the_second_moments_are_those_of_the_outputs(bias, sample_norm):
    model = make(bias)
    found = collect(
        model, batches(KEEP, side="left"), targets={"target_modules": TARGETS}, dtype="float64", sample_norm=sample_norm
    )
    assert list(found.manifest.layers) == NAMES
    for name, expected in covariances(model, KEEP, sample_norm).items():
        weight, bias = parts(model.get_submodule(name))
        whole = weight if bias is None else np.column_stack([weight, bias])
        np.testing.assert_allclose(whole @ found.second_moment(name).numpy() @ whole.T, expected, rtol=0, atol=1e-11)


@BIASES
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.8, 1.0])
def test_training_starts_in_the_leading_subspace(bias, beta):
    base = make(bias)
    plus, minus = covariances(base, LEARN), covariances(base, KEEP)
    learn, keep = (
        collect(base, batches(rows), targets={"target_modules": TARGETS}, dtype="float64") for rows in (LEARN, KEEP)
    )
    model = sc_lora(make(bias), SCLoRAConfig(r=4, beta=beta, target_modules=TARGETS), learn=learn, keep=keep)
    for name in NAMES:
        layer, (weight, _) = model.get_base_model().get_submodule(name), parts(base.get_submodule(name))
        A0, B0 = (part["default"].initial.numpy() for part in (layer.lora_A, layer.lora_B))
        delta = oracle.contrast(plus[name], minus[name], beta)
        Q, values = oracle.leading(delta, 4)
        assert oracle.reward(B0, delta) == pytest.approx(values[:4].sum(), abs=1e-11)
        if oracle.is_determined(values, 4):
            np.testing.assert_allclose(B0 @ B0.T, Q @ Q.T, atol=1e-7)
            np.testing.assert_allclose(B0 @ A0, Q @ (Q.T @ weight), atol=1e-7)


@BIASES
def test_logits_after_training_moved_it_are_those_of_a_model_with_the_effective_weights(bias):
    learn, keep = batches(LEARN), batches(KEEP)
    model = sc_lora(make(bias), SCLoRAConfig(r=3, lora_alpha=6, target_modules=TARGETS), learn=learn, keep=keep).eval()
    expected = make(bias)
    draw = np.random.default_rng(0)
    for name in NAMES:
        layer, weight = model.get_base_model().get_submodule(name), expected.get_submodule(name).weight
        initial = [part["default"].initial.numpy() for part in (layer.lora_A, layer.lora_B)]
        now = []
        for part, first in zip((layer.lora_A, layer.lora_B), initial, strict=True):
            moved = 0.1 * draw.standard_normal(first.shape)
            part["default"].delta.data.copy_(torch.from_numpy(moved))
            now.append(first + moved)
        weight.data.copy_(torch.from_numpy(oracle.effective(weight.detach().numpy(), 2.0, *now, *initial)))
    batch = batches(KEEP)[0]
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, expected(**batch).logits, rtol=0, atol=1e-11)
        with model.disable_adapter():
            assert torch.equal(model(**batch).logits, make(bias)(**batch).logits)
    merged = model.merge_and_unload()
    for name in NAMES:
        ours, theirs = merged.get_submodule(name).weight, expected.get_submodule(name).weight
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
