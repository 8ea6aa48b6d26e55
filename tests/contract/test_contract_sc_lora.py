"""SC-LoRA in a model: no effect before training, the literal method's training, and no effect when it is off."""

import copy
import warnings

import pytest
import torch
from contract_models import ARCHITECTURES, logits, same_bits
from sc_lora_models import (
    DTYPES,
    INITIALISATIONS,
    R,
    bits,
    disturb,
    initialised,
    keep_batch,
    learn_batch,
    steps,
    trained,
)
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from retain import SCLoRAConfig, sc_lora
from retain.hf.adapters.residual_lora import residual_layers
from retain.hf.tuners.base_weight import as_matrix, features


@pytest.fixture(params=DTYPES.values(), ids=DTYPES.keys())
def dtype(request):
    return request.param


@pytest.mark.parametrize(
    ("initialisation", "kind"),
    [*(("sc-lora", kind) for kind in DTYPES), *((name, "bf16") for name in INITIALISATIONS[1:])],
)
def test_before_training_the_model_is_the_base_bit_for_bit(architecture, initialisation, kind):
    dtype = DTYPES[kind]
    base, batch = architecture.make(dtype), architecture.batch(dtype=dtype)
    before, expected = bits(base), logits(base, batch)
    model = initialised(architecture, dtype, onto=base, initialisation=initialisation, lora_alpha=3)
    found = logits(model, batch)
    assert torch.equal(found, expected)
    assert found.dtype == expected.dtype
    assert same_bits(bits(model), before)


def test_the_adapter_is_float32_or_better(architecture, dtype):
    model = initialised(architecture, dtype)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert {parameter.dtype for parameter in trained(model).values()} == {wanted}
    assert {layer.lora_A["default"].initial.dtype for layer in residual_layers(model, "default").values()} == {wanted}


def test_training_lowers_the_loss_and_leaves_the_base(architecture, dtype):
    model, batch = initialised(architecture, dtype), architecture.batch(dtype=dtype)
    before = bits(model)
    losses = steps(model, torch.optim.Adam(trained(model).values(), lr=0.02), batch, 4)
    assert losses[-1] < losses[0]
    assert same_bits(bits(model), before)
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), logits(architecture.make(dtype), batch))


def test_only_the_changes_of_the_factors_train_and_they_are_as_many_as_a_loras_weights(architecture):
    model = initialised(architecture)
    assert all(name.endswith((".lora_A.default.delta", ".lora_B.default.delta")) for name in trained(model))
    layers = residual_layers(model, "default").values()
    expected = sum(R * sum(features(layer.get_base_layer())) for layer in layers)
    assert sum(parameter.numel() for parameter in trained(model).values()) == expected
    assert model.get_nb_trainable_parameters()[0] == expected


def test_disabled_is_the_base_bit_for_bit(architecture, dtype):
    base, batch = architecture.make(dtype), architecture.batch(dtype=dtype)
    expected = logits(base, batch)
    model = initialised(architecture, dtype, onto=base)
    disturb(model)
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), expected)
    assert not torch.equal(logits(model, batch), expected)


class Literal(nn.Module):
    """y = (W0 − s·B0 A0) x + b + s·B A x with A and B trained from A0 and B0, as the papers write it."""

    def __init__(self, layer):
        super().__init__()
        base, self.scale = layer.get_base_layer(), layer.scaling["default"]
        A0, B0 = layer.lora_A["default"].initial, layer.lora_B["default"].initial
        W0 = as_matrix(base, base.weight.detach())
        self.residual, self.bias = W0 - self.scale * B0 @ A0, base.bias
        self.A, self.B = nn.Parameter(A0.clone()), nn.Parameter(B0.clone())

    def forward(self, x):
        return linear(x, self.residual, self.bias) + self.scale * linear(linear(x, self.A), self.B)


def literally(model, architecture):
    """The same model with the method written out, and its layers in the order of the adapter's."""
    base, layers = architecture.make(torch.float64).requires_grad_(requires_grad=False), []
    for key, layer in residual_layers(model, "default").items():
        layers.append(Literal(layer))
        base.set_submodule(key.removeprefix("base_model.model."), layers[-1])
    return base, layers


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_it_trains_as_the_method_written_out(architecture, initialisation):
    model = initialised(architecture, torch.float64, initialisation=initialisation, lora_alpha=3)
    literal, written = literally(model, architecture)
    batch = architecture.batch(dtype=torch.float64)
    optimizers = [torch.optim.SGD(trained(m).values(), lr=0.05) for m in (model, literal)]
    for _ in range(3):
        for each, optimizer in zip((model, literal), optimizers, strict=True):
            optimizer.zero_grad()
            each(**batch).loss.backward()
        for layer, other in zip(residual_layers(model, "default").values(), written, strict=True):
            for half, parameter in ((layer.lora_A["default"], other.A), (layer.lora_B["default"], other.B)):
                torch.testing.assert_close(half.delta.grad, parameter.grad, rtol=1e-9, atol=1e-13)
                torch.testing.assert_close(half.initial + half.delta, parameter, rtol=1e-9, atol=1e-13)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(logits(model, batch), logits(literal, batch), rtol=0, atol=1e-10)
    assert not torch.allclose(logits(model, batch), logits(architecture.make(torch.float64), batch))


def test_weight_decay_draws_to_the_base(llama):
    model, batch = initialised(llama), llama.batch()
    disturb(model)
    base = logits(llama.make(), batch)
    distances = [float((logits(model, batch) - base).norm())]
    parameters = list(trained(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-8, weight_decay=0.05 / 1e-8)
    for _ in range(60):
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    distances.append(float((logits(model, batch) - base).norm()))
    assert distances[1] < 0.1 * distances[0]


def rescale(model, factor):
    for layer in residual_layers(model, "default").values():
        layer.set_scale("default", factor)


def test_a_scale_of_nothing_is_the_base_and_of_one_the_tuned_model(architecture, dtype):
    model, batch = initialised(architecture, dtype, lora_alpha=3), architecture.batch(dtype=dtype)
    disturb(model)
    tuned = logits(model, batch)
    rescale(model, 0)
    assert torch.equal(logits(model, batch), logits(architecture.make(dtype), batch))
    rescale(model, 1)
    assert torch.equal(logits(model, batch), tuned)


class One(nn.Module):
    """A model of one layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, inputs_embeds):
        return self.layer(inputs_embeds)


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_a_scale_of_a_half_is_half_of_the_way(kind, initialisation):
    torch.manual_seed(0)
    layer = (nn.Linear(6, 5) if kind is nn.Linear else Conv1D(5, 6)).double()
    W0 = as_matrix(layer, layer.weight.detach()).clone()
    x = torch.randn(8, 5, 6, dtype=torch.float64)
    other = x.flip(-1) * torch.arange(6)
    config = SCLoRAConfig(r=2, lora_alpha=3, initialisation=initialisation, target_modules=["layer"])
    model = sc_lora(One(layer), config, learn=[{"inputs_embeds": x}], keep=[{"inputs_embeds": other}])
    disturb(model, size=0.3)
    model.merge_adapter()
    W = as_matrix(layer, layer.weight.detach()).clone()
    model.unmerge_adapter()
    assert not torch.allclose(W, W0)
    rescale(model, 0.5)
    torch.testing.assert_close(model(x), linear(x, W0 + 0.5 * (W - W0), layer.bias), rtol=0, atol=1e-13)


def test_deepcopy_is_independent(llama):
    model, batch = initialised(llama), llama.batch()
    disturb(model)
    expected = logits(model, batch)
    residual = copy.deepcopy(model)
    disturb(model, seed=9)
    assert torch.equal(logits(residual, batch), expected)
    residual.merge_adapter()
    residual.unmerge_adapter()
    assert torch.equal(logits(residual, batch), expected)


def test_status_is_regular(llama):
    model = initialised(llama)
    status = model.get_model_status()
    assert (status.enabled, status.active_adapters, status.merged_adapters) == (True, ["default"], [])
    assert status.requires_grad == {"default": True}
    assert status.devices == {"default": ["cpu"]}
    assert status.num_adapter_layers == len(residual_layers(model, "default"))


def test_dropout_acts_in_training_only(llama):
    model, batch = initialised(llama, lora_dropout=0.5), llama.batch()
    disturb(model, size=0.5)
    assert torch.equal(logits(model, batch), logits(model, batch))
    model.train()
    assert not torch.equal(logits(model, batch), logits(model, batch))


def test_nothing_warns():
    llama = ARCHITECTURES["llama"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        model = sc_lora(llama.make(), SCLoRAConfig(r=2), learn=[learn_batch(llama)], keep=[keep_batch(llama)])
        disturb(model)
        model.merge_and_unload()
