"""MiLoRA, CorDA (knowledge-preserved mode) and LoRA-Null, each against what its paper says, in NumPy."""

import numpy as np
import pytest
import sc_lora_oracle as oracle
import torch
from torch import nn

from calibration import batches, embedded, sentences
from retain import SCLoRAConfig, sc_lora
from retain.methods.initialisations.corda_kpm import corda_kpm
from retain.methods.initialisations.lora_null import lora_null
from retain.methods.initialisations.milora import milora

pytestmark = pytest.mark.filterwarnings("ignore::retain.methods.initialisations.adapter.CalibrationWarning")
DRAW = np.random.default_rng(0)
SHAPES = {"tall": (9, 5), "wide": (5, 9), "square": (6, 6)}
WEIGHTS = {name: DRAW.standard_normal(shape) for name, shape in SHAPES.items()}
SAMPLES = {name: [DRAW.standard_normal((4, n)) + 0.5 for _ in range(20)] for name, (_, n) in SHAPES.items()}
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES)
INITIALISATIONS = ("milora", "corda-kpm", "lora-null")


def expected(initialisation, weight, samples, r):
    if initialisation == "milora":
        return oracle.milora(weight, r)
    function = {"corda-kpm": oracle.corda_kpm, "lora-null": oracle.lora_null}[initialisation]
    return function(weight, samples, r)


def found(initialisation, weight, samples, r, scale):
    """A0, B0 by retain."""
    W0 = torch.from_numpy(weight)
    if initialisation == "milora":
        return milora(W0, r, scale)
    keep = torch.from_numpy(oracle.input_moment(samples))
    function = {"corda-kpm": corda_kpm, "lora-null": lora_null}[initialisation]
    return function(W0, keep, r, scale)


@EACH_SHAPE
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_is_trained_is_what_the_paper_says(initialisation, shape, scale):
    weight, samples = WEIGHTS[shape], SAMPLES[shape]
    A0, B0 = (part.numpy() for part in found(initialisation, weight, samples, 3, scale))
    np.testing.assert_allclose(scale * B0 @ A0, expected(initialisation, weight, samples, 3), atol=1e-10)


@EACH_SHAPE
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_singular_values_are_split_evenly_between_the_factors(initialisation, shape):
    weight, samples = WEIGHTS[shape], SAMPLES[shape]
    A0, B0 = (part.numpy() for part in found(initialisation, weight, samples, 3, 1.0))
    sizes = np.linalg.norm(B0, axis=0)
    np.testing.assert_allclose(B0.T @ B0, np.diag(sizes**2), atol=1e-10)
    if initialisation != "corda-kpm":  # whose right factors are not orthonormal: Vᵀ C⁻¹
        np.testing.assert_allclose(A0 @ A0.T, np.diag(sizes**2), atol=1e-10)


@EACH_SHAPE
@pytest.mark.parametrize("initialisation", ["milora", "corda-kpm"])
def test_at_full_rank_the_whole_weight_is_trained(initialisation, shape):
    weight = WEIGHTS[shape]
    A0, B0 = (part.numpy() for part in found(initialisation, weight, SAMPLES[shape], min(weight.shape), 1.0))
    np.testing.assert_allclose(B0 @ A0, weight, atol=1e-10)


@pytest.mark.parametrize("shape", ["tall", "square"])
def test_lora_null_trains_the_whole_weight_once_no_direction_of_the_input_is_left_out(shape):
    weight = WEIGHTS[shape]
    A0, B0 = (part.numpy() for part in found("lora-null", weight, SAMPLES[shape], weight.shape[1], 1.0))
    np.testing.assert_allclose(B0 @ A0, weight, atol=1e-10)


def net(*, bias=True):
    return embedded(lambda: nn.Sequential(nn.Linear(6, 8, bias=bias), nn.Tanh(), nn.Linear(8, 4, bias=bias)))


def adapter(model, initialisation, rows, on_layer=None):
    config = SCLoRAConfig(r=3, initialisation=initialisation, lora_alpha=6, target_modules=["body.0", "body.2"])
    return sc_lora(model, config, keep=None if initialisation == "milora" else batches(rows), on_layer=on_layer)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_an_adapter_begins_there_whatever_the_bias(initialisation, bias):
    model, rows = net(bias=bias), sentences(30)
    weight = model.body[0].weight.detach().numpy().copy()
    layer = adapter(model, initialisation, rows).get_base_model().body[0]
    A0, B0 = (part["default"].initial.numpy() for part in (layer.lora_A, layer.lora_B))
    samples = [model.embedding.weight.detach().numpy()[row] for row in rows]
    np.testing.assert_allclose(2 * B0 @ A0, expected(initialisation, weight, samples, 3), atol=1e-5)


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_it_says_how_many_layers_are_done(initialisation):
    told = []
    adapter(net(), initialisation, sentences(30), lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
