"""What adapters change in layers' outputs, against ΔW as merging makes it."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.layer_effects import layer_effects, update_size
from retain.hf.models.updates import weight_updates
from retain.hf.scaling import scaled
from tiny import make_bert, make_llama

IDS = torch.arange(2, 18).view(2, 8)
METHODS = {
    "vefa": {},
    "lorfa": {},
    "lora": {},
    "dora": {"use_dora": True},
    "ia3": {},
    "oft": {},
    "hra": {},
    "vera": {},
}


def make_gpt2(**_):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=70, n_embd=16, n_layer=1, n_head=2, n_positions=16)).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1  # biases that are not 0
    return model


def trained(name, base=None, **fields):
    kind = "lora" if name == "dora" else name
    model = attach(base if base is not None else make_llama(), kind, {**METHODS.get(name, {}), **fields}).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


def inputs_of(model, names, batch):
    seen = {}
    hooks = [
        model.get_submodule(n).register_forward_pre_hook(lambda _, args, n=n: seen.update({n: args[0].detach()}))
        for n in names
    ]
    with torch.no_grad():
        model(**batch)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("make", [make_llama, make_gpt2])
@pytest.mark.parametrize("name", METHODS)
def test_effects_are_those_of_the_measured_update(name, make):
    if make is make_gpt2 and name in {"oft", "hra"}:
        pytest.skip("PEFT has it for nn.Linear only")
    model = trained(name, make())
    updates = {update.module: update.delta for update in weight_updates(model)}
    inputs = inputs_of(model, updates, {"input_ids": IDS})
    before = model(input_ids=IDS).logits
    found = layer_effects(model, {"input_ids": IDS})
    assert found.keys() == updates.keys()
    for key, (total, count) in found.items():
        x = inputs[key].double()
        expected = ((x @ updates[key].double().T).norm(dim=-1) / x.norm(dim=-1)).sum()
        assert count == IDS.numel()
        assert total == pytest.approx(float(expected), rel=1e-4)
    assert torch.equal(model(input_ids=IDS).logits, before)
    assert not any(module._forward_hooks for module in model.modules())


def test_padding_does_not_count():
    model = trained("lora", make_bert())
    mask = torch.ones_like(IDS)
    mask[0, 5:] = 0
    (name, *_) = names = [update.module for update in weight_updates(model)]
    batch = {"input_ids": IDS, "attention_mask": mask}
    x = inputs_of(model, names, batch)[name]
    delta = next(iter(weight_updates(model))).delta
    ratios = (x @ delta.T).norm(dim=-1) / x.norm(dim=-1)
    total, count = layer_effects(model, batch, [name])[name]
    assert count == int(mask.sum()) == 13
    assert total == pytest.approx(float(ratios[mask.bool()].sum()), rel=1e-4)


def test_only_the_layers_asked_for():
    model = trained("vefa")
    names = [update.module for update in weight_updates(model)]
    assert list(layer_effects(model, {"input_ids": IDS}, names[2:4])) == names[2:4]
    with pytest.raises(InputError, match="no adapted linear layer is named 'elsewhere'"):
        layer_effects(model, {"input_ids": IDS}, ["elsewhere"])


@pytest.mark.parametrize("name", ["lora", "dora"])
def test_effects_follow_the_dial(name):
    model = trained(name, target_modules=["down_proj"], layers_to_transform=[0])
    full = layer_effects(model, {"input_ids": IDS})
    with scaled(model, 0.25):
        part = layer_effects(model, {"input_ids": IDS})
        size = update_size(model, generator=torch.Generator().manual_seed(0))
    for key, (total, count) in part.items():
        assert total / count == pytest.approx(0.25 * full[key][0] / full[key][1], rel=1e-3)
    assert size == pytest.approx(0.25 * update_size(model, generator=torch.Generator().manual_seed(0)), rel=1e-3)


def true_size(model):
    """The size, and k as documented, over all layers: (sum of squared singular values)^2 / sum of their 4th powers."""
    changed = whole = fourth = 0.0
    for update in weight_updates(model):
        squares = torch.linalg.svdvals(update.delta.double()).square()
        changed, fourth = changed + float(squares.sum()), fourth + float(squares.square().sum())
        whole += float(update.weight.double().square().sum())
    return math.sqrt(changed / whole), changed**2 / fourth


@pytest.mark.parametrize("name", METHODS)
def test_the_size_is_estimated_within_its_standard_error(name):
    model = trained(name)
    size, k = true_size(model)
    found = update_size(model, 200, generator=torch.Generator().manual_seed(0))
    assert found == pytest.approx(size, rel=4 / math.sqrt(2 * 200 * k))


def test_the_standard_error_is_as_documented():
    model = trained("lora", r=2, target_modules=["q_proj", "down_proj"])
    size, k = true_size(model)
    found = torch.tensor(
        [update_size(model, 8, generator=torch.Generator().manual_seed(seed)) / size for seed in range(200)]
    )
    assert float(found.std()) == pytest.approx(1 / math.sqrt(2 * 8 * k), rel=0.25)
    assert abs(float(found.mean()) - 1) < 0.05


def test_the_same_probes_compare_without_noise_and_modes_do_not_matter():
    model = trained("lora", lora_dropout=0.5).train()
    first = update_size(model, 2, generator=torch.Generator().manual_seed(5))
    modes = [module.training for module in model.modules()]
    assert first == update_size(model, 2, generator=torch.Generator().manual_seed(5))
    assert modes == [module.training for module in model.modules()]
    assert all(modes)
    assert update_size(model.eval(), 2, generator=torch.Generator().manual_seed(5)) == first
    assert update_size(model, 2, generator=torch.Generator().manual_seed(6)) != first


def test_a_16_bit_base_does_not_drown_a_small_update():
    model = trained("lora", make_llama().bfloat16())
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            parameter.data *= 1e-3
    size, k = true_size(model)
    found = update_size(model, 200, generator=torch.Generator().manual_seed(0))
    assert found == pytest.approx(size, rel=4 / math.sqrt(400 * k))
    assert size < 1e-3


def test_a_fresh_adapter_has_no_size_and_no_effect():
    model = attach(make_llama(), "lora", {}).eval()
    assert update_size(model, generator=torch.Generator()) == 0
    assert all(total == 0 for total, _ in layer_effects(model, {"input_ids": IDS}).values())


def test_models_without_adapters_and_no_probes_are_refused():
    with pytest.raises(InputError, match="no linear layers with adapters"):
        layer_effects(make_llama(), {"input_ids": IDS})
    with pytest.raises(InputError, match="probes=0"):
        update_size(trained("lora"), 0, generator=torch.Generator())


@pytest.mark.parametrize("name", ["vefa", "lora", "dora"])
def test_over_a_quantised_base_the_size_is_that_over_its_dequantised_weight(name, monkeypatch):
    model = trained(name)
    expected = update_size(model, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("retain.hf.models.layer_effects.quantization_backend", lambda *_: object())
    found = update_size(model, generator=torch.Generator().manual_seed(0))
    assert found == pytest.approx(expected, rel=1e-5)
