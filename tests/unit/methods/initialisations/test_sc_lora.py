"""A network run in NumPy, the oracle on its outputs, and retain: the same moments, subspaces, functions and merges."""

import numpy as np
import pytest
import sc_lora_oracle as oracle
import torch
from torch import nn

from calibration import batches, embedded, sentences
from retain import SCLoRAConfig, sc_lora
from retain.activations import collect

pytestmark = pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
LAYERS = {"body.0": "tall", "body.2": "wide", "body.4": "square"}
LEARN, KEEP = sentences(24, seed=1), sentences(30, seed=2)
BETAS = [0.0, 0.5, 0.8, 1.0]
SCALE = 1.5
BIASES = pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
NORMS = pytest.mark.parametrize("sample_norm", ["none", "max"])


def make(*, bias):
    def body():
        linear = [nn.Linear(6, 10, bias=bias), nn.Linear(10, 4, bias=bias), nn.Linear(4, 4, bias=bias)]
        return nn.Sequential(linear[0], nn.Tanh(), linear[1], nn.Tanh(), linear[2])

    return embedded(body)


def numpy_net(model):
    weights = [(layer.weight, layer.bias) for layer in model.body if isinstance(layer, nn.Linear)]
    arrays = [(plain(weight), None if bias is None else plain(bias)) for weight, bias in weights]
    return oracle.Net(plain(model.embedding.weight), arrays)


def plain(tensor):
    return tensor.detach().numpy().copy()


def by_hand(net, sample_norm="none"):
    """Layer: (W, bias, Cov+, Cov−)."""
    read = [[net.inputs(sentence) for sentence in rows] for rows in (LEARN, KEEP)]
    found = {}
    for number, name in enumerate(LAYERS):
        weight, bias = net.layers[number]
        covariances = [oracle.covariance(weight, bias, [one[number] for one in rows], sample_norm) for rows in read]
        found[name] = (weight, bias, *covariances)
    return found


def collected(model, rows, sample_norm="none"):
    return collect(
        model, batches(rows), targets={"target_modules": list(LAYERS)}, dtype="float64", sample_norm=sample_norm
    )


def adapted(*, bias, beta, r=2, sample_norm="none"):
    model = make(bias=bias)
    config = SCLoRAConfig(
        r=r, beta=beta, lora_alpha=SCALE * r, target_modules=list(LAYERS), sample_norm=sample_norm
    )  # fmt: skip
    learn, keep = (collected(model, rows, sample_norm) for rows in (LEARN, KEEP))
    return sc_lora(model, config, learn=learn, keep=keep).eval()


def factors(model, name):
    """A0, B0 of one layer."""
    layer = model.get_base_model().get_submodule(name)
    return plain(layer.lora_A["default"].initial), plain(layer.lora_B["default"].initial)


def move(model):
    """Move every A and B by fixed amounts; by layer what they were moved by."""
    draw, moved = np.random.default_rng(3), {}
    for name in LAYERS:
        layer = model.get_base_model().get_submodule(name)
        deltas = [part["default"].delta for part in (layer.lora_A, layer.lora_B)]
        moved[name] = [0.3 * draw.standard_normal(delta.shape) for delta in deltas]
        for delta, values in zip(deltas, moved[name], strict=True):
            delta.data.copy_(torch.from_numpy(values))
    return moved


def effective(model, net, moved):
    """The oracle's weights of a moved model."""
    found = []
    for name, (weight, bias) in zip(LAYERS, net.layers, strict=True):
        A0, B0 = factors(model, name)
        dA, dB = moved[name]
        found.append((oracle.effective(weight, SCALE, A0 + dA, B0 + dB, A0, B0), bias))
    return oracle.Net(net.embedding, found)


@BIASES
@NORMS
def test_the_second_moments_are_those_of_the_outputs(bias, sample_norm):
    model = make(bias=bias)
    expected = by_hand(numpy_net(model), sample_norm)
    for place, rows in ((2, LEARN), (3, KEEP)):
        found = collected(model, rows, sample_norm)
        for name, values in expected.items():
            whole = values[0] if values[1] is None else np.column_stack(values[:2])
            np.testing.assert_allclose(
                whole @ found.second_moment(name).numpy() @ whole.T, values[place], rtol=0, atol=1e-11
            )
        assert found.tokens == sum(map(len, rows))


@BIASES
@NORMS
@pytest.mark.parametrize("beta", BETAS)
def test_training_starts_in_the_leading_subspace(bias, sample_norm, beta):
    model = adapted(bias=bias, beta=beta, sample_norm=sample_norm)
    for name, (weight, _, plus, minus) in by_hand(numpy_net(make(bias=bias)), sample_norm).items():
        delta = oracle.contrast(plus, minus, beta)
        Q, values = oracle.leading(delta, 2)
        expected = oracle.factors_in(Q, weight)
        A0, B0 = factors(model, name)
        np.testing.assert_allclose(B0.T @ B0, np.eye(2), atol=1e-12)
        assert oracle.reward(B0, delta) == pytest.approx(values[:2].sum(), abs=1e-12)
        if oracle.is_determined(values, 2):
            np.testing.assert_allclose(B0 @ B0.T, Q @ Q.T, atol=1e-8)
        np.testing.assert_allclose(B0 @ A0, expected[1] @ expected[0], atol=1e-8)


@BIASES
def test_a_full_rank_starts_from_all_of_the_weight(bias):
    model = adapted(bias=bias, beta=0.8, r=4)
    for name in ("body.2", "body.4"):
        A0, B0 = factors(model, name)
        weight = plain(model.get_base_model().get_submodule(name).get_base_layer().weight)
        np.testing.assert_allclose(B0 @ A0, weight, atol=1e-12)


@BIASES
@pytest.mark.parametrize("beta", [0.0, 0.8])
def test_what_the_network_computes_before_and_after_training_moved_it(bias, beta):
    model, base = adapted(bias=bias, beta=beta), make(bias=bias)
    batch = batches(KEEP)[0]
    with torch.no_grad():
        assert torch.equal(model(**batch), base(**batch))
        net = numpy_net(base)
        expected = effective(model, net, move(model))
        found = model(**batch)
        for row, sentence in enumerate(KEEP[: len(found)]):
            logits = expected.inputs(sentence)[-1]
            np.testing.assert_allclose(plain(found[row, : len(sentence)]), logits, atol=1e-11)
        assert np.abs(logits - net.inputs(sentence)[-1]).max() > 0.01
        with model.disable_adapter():
            assert torch.equal(model(**batch), base(**batch))


@BIASES
def test_merging_gives_the_effective_weights(bias):
    model = adapted(bias=bias, beta=0.5)
    expected = effective(model, numpy_net(make(bias=bias)), move(model))
    merged = model.merge_and_unload()
    for name, (weight, offset) in zip(LAYERS, expected.layers, strict=True):
        layer = merged.get_submodule(name)
        np.testing.assert_allclose(plain(layer.weight), weight, atol=1e-12)
        assert offset is None or np.array_equal(plain(layer.bias), offset)
