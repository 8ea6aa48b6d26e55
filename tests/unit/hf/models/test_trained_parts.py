"""The changes of weights that autograd can follow are those that merging makes, whatever the method."""

import pytest
import torch
from peft import (
    AdaLoraConfig,
    BOFTConfig,
    C3AConfig,
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    MissConfig,
    OFTConfig,
    OSFConfig,
    PromptTuningConfig,
    RandLoraConfig,
    RoadConfig,
    ShiraConfig,
    VeraConfig,
    get_peft_model,
)
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

from retain import LoRFAConfig, SCLoRAConfig, VeFAConfig, sc_lora
from retain.errors import InputError
from retain.hf.models.trained_parts import size_of, trained_parts, without_matrix
from retain.hf.models.updates import weight_updates
from tiny import SMALL, make_llama

ALL, SOME = {"target_modules": "all-linear"}, {"target_modules": ["q_proj", "down_proj"]}
METHODS = {
    "lora": LoraConfig(**ALL),
    "rslora": LoraConfig(**ALL, use_rslora=True, lora_alpha=3),
    "dora": LoraConfig(**ALL, use_dora=True),
    "pissa": LoraConfig(**ALL, init_lora_weights="pissa"),
    "vefa": VeFAConfig(**ALL),
    "lorfa": LoRFAConfig(**ALL, r=4),
    "oft": OFTConfig(**ALL, r=0, oft_block_size=8),
    "boft": BOFTConfig(**SOME, boft_block_size=4),
    "hra": HRAConfig(**ALL, r=4),
    "ia3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "loha": LoHaConfig(**SOME, r=4),
    "lokr": LoKrConfig(**SOME, r=4),
    "vera": VeraConfig(target_modules=["q_proj"], r=4),
    "randlora": RandLoraConfig(target_modules=["q_proj"], r=4),
    "shira": ShiraConfig(target_modules=["q_proj"], r=2),
    "c3a": C3AConfig(target_modules=["q_proj"], block_size=8),
    "miss": MissConfig(target_modules=["q_proj"], r=4),
    "adalora": AdaLoraConfig(**SOME, total_step=10),
    "road": RoadConfig(target_modules=["q_proj"], group_size=8),
    "osf": OSFConfig(target_modules=["q_proj"]),
}


def trained(base, config, scale=0.05):
    model = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", METHODS)
def test_the_change_is_that_of_merging_and_has_a_gradient(name):
    model = trained(make_llama(), METHODS[name])
    parts = {part.name: part for part in trained_parts(model)}
    for update in weight_updates(model):
        part = parts.pop(update.module.removeprefix("base_model.model."))
        change = part.change()
        assert change.shape == part.shape
        torch.testing.assert_close(change, update.delta, rtol=1e-4, atol=1e-6)
        names = [key for key, p in part.layer.named_parameters() if p.requires_grad]
        slopes = torch.autograd.grad(change.square().sum(), [part.layer.get_parameter(key) for key in names])
        assert all(bool(slope.any()) for slope in slopes), names
    assert not parts


def test_an_initialised_lora_counts_from_its_initialisation():
    model = sc_lora(make_llama(), SCLoRAConfig(r=2, initialisation="milora"))
    parts = trained_parts(model)
    assert all(float(part.change().abs().max()) == 0 for part in parts)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    for part, update in zip(parts, weight_updates(model), strict=True):
        torch.testing.assert_close(part.change(), update.delta, rtol=1e-4, atol=1e-6)
        down, up = (container["default"] for container in (part.layer.lora_A, part.layer.lora_B))
        by_hand = part.layer.scaling["default"] * (
            (up.initial + up.delta) @ (down.initial + down.delta) - up.initial @ down.initial
        )
        torch.testing.assert_close(part.change(), by_hand, rtol=1e-3, atol=1e-6)


def test_layers_that_store_their_matrix_the_other_way_and_16_bits_are_read_alike():
    torch.manual_seed(0)
    other_way = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2))
    for base, config in (
        (other_way, LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)),
        (GPT2LMHeadModel(other_way.config), HRAConfig(target_modules=["lm_head"], r=2)),
        (make_llama().bfloat16(), LoraConfig(**ALL, use_dora=True)),
        (make_llama().bfloat16(), VeFAConfig(**ALL)),
    ):
        model = trained(base, config)
        parts = trained_parts(model)
        for part, update in zip(parts, weight_updates(model), strict=True):
            torch.testing.assert_close(part.change(), update.delta, rtol=1e-3, atol=2e-6)


def test_several_active_adapters_add_up():
    model = trained(make_llama(), LoraConfig(**SOME, r=2))
    model.add_adapter("other", LoraConfig(target_modules=["q_proj"], r=4, init_lora_weights=False))
    model.base_model.set_adapter(["default", "other"])
    for part, update in zip(trained_parts(model), weight_updates(model), strict=True):
        torch.testing.assert_close(part.change(), update.delta, rtol=1e-4, atol=1e-6)


def test_copies_trained_in_full_and_whole_models_count_from_what_they_began_as():
    model = get_peft_model(make_llama(), LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]))
    head = next(part for part in trained_parts(model) if part.name == "lm_head.weight")
    with torch.no_grad():
        head.trained.add_(0.5)
    torch.testing.assert_close(head.change(), torch.full(head.shape, 0.5))
    whole = make_llama().requires_grad_()
    assert size_of(trained_parts(whole)) == sum(p.numel() for p in whole.parameters())
    with pytest.raises(InputError, match="teacher="):
        trained_parts(whole)[0].change()


def test_what_has_no_matrix_is_named_or_refused():
    mixed = get_peft_model(make_llama(), LoraConfig(target_modules=["q_proj", "embed_tokens"]))
    assert without_matrix(mixed) == ["model.embed_tokens"]
    assert all("embed" not in part.name for part in trained_parts(mixed))
    for config in (
        PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"),
        LNTuningConfig(target_modules=["norm"]),
    ):
        with pytest.raises(InputError, match="no weights"):
            trained_parts(get_peft_model(make_llama(), config))
    experts = MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=2))
    config = LoraConfig(target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj"])
    with pytest.raises(InputError, match="experts"):
        trained_parts(get_peft_model(experts, config))
