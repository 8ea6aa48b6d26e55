"""A model with adapters acts as its base, and says when it cannot."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from retain.errors import MergeError
from retain.hf.adapters.attach import attach
from retain.hf.models.sides import base_view, is_adapted, mutates_base

IDS = torch.arange(2, 10).view(1, 8)


def llama():
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 32,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes)).eval()


def disturbed(name, fields=None):
    model = attach(llama(), name, fields or {}).eval()
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vefa", {}),
        ("lorfa", {}),
        ("lora", {"use_dora": True}),
        ("ia3", {}),
        ("prompt_tuning", {"num_virtual_tokens": 3}),
        ("vefa", {"modules_to_save": ["lm_head"]}),
    ],
)
def test_inside_it_is_the_base_and_outside_as_before(name, fields):
    model, expected = disturbed(name, fields), llama()(IDS).logits
    gradients = [p.requires_grad for p in model.parameters()]
    tuned = model(input_ids=IDS).logits
    with base_view(model) as base:
        assert base is model
        assert torch.equal(base(input_ids=IDS).logits, expected)
    assert torch.equal(model(input_ids=IDS).logits, tuned)
    assert [p.requires_grad for p in model.parameters()] == gradients


def test_it_is_restored_after_an_exception():
    model = disturbed("vefa")
    tuned = model(IDS).logits
    with pytest.raises(KeyError), base_view(model):
        raise KeyError
    assert torch.equal(model(IDS).logits, tuned)


def test_a_frozen_adapter_stays_frozen():
    model = disturbed("lorfa").requires_grad_(requires_grad=False)
    with base_view(model):
        pass
    assert not any(p.requires_grad for p in model.parameters())


def test_views_nest_and_leave_a_disabled_adapter_disabled():
    model, expected = disturbed("vefa"), llama()(IDS).logits
    with base_view(model):
        with base_view(model):
            pass
        assert torch.equal(model(IDS).logits, expected)
    model.base_model.disable_adapter_layers()
    with base_view(model):
        pass
    assert torch.equal(model(IDS).logits, expected)


def test_adapters_put_there_by_transformers():
    model, expected = llama(), llama()(IDS).logits
    assert not is_adapted(model)
    model.add_adapter(LoraConfig(init_lora_weights=False, target_modules=["q_proj"]))
    assert is_adapted(model)
    assert not torch.equal(model(IDS).logits, expected)
    with base_view(model):
        assert torch.equal(model(IDS).logits, expected)


def test_a_plain_model_is_its_own_base():
    model = llama()
    with base_view(model) as base:
        assert base is model
    assert mutates_base(model) is None
    assert not is_adapted(model)


def test_a_merged_model_is_refused():
    model = disturbed("vefa")
    model.merge_adapter()
    with pytest.raises(MergeError, match="unmerge_adapter"), base_view(model):
        pass


@pytest.mark.parametrize("initial", ["pissa", "pissa_niter_2", "olora"])
def test_initialisations_that_rewrite_the_base_are_told(initial):
    model = get_peft_model(llama(), LoraConfig(init_lora_weights=initial, target_modules=["q_proj"])).eval()
    assert f"adapter 'default': init_lora_weights='{initial}'" in mutates_base(model)
    with base_view(model):
        assert not torch.equal(model(IDS).logits, llama()(IDS).logits)


@pytest.mark.parametrize("initial", [True, False, "gaussian", "orthogonal", "mica"])
def test_initialisations_that_leave_the_base_are_not(initial):
    model = get_peft_model(llama(), LoraConfig(init_lora_weights=initial, target_modules=["q_proj"])).eval()
    assert mutates_base(model) is None
    with base_view(model):
        torch.testing.assert_close(model(IDS).logits, llama()(IDS).logits, rtol=0, atol=0)


def test_other_changes_to_the_base_are_told():
    assert "bias='all'" in mutates_base(get_peft_model(llama(), LoraConfig(bias="all", target_modules=["q_proj"])))
    layers = LoraConfig(layer_replication=[(0, 2), (1, 2)], target_modules=["q_proj"])
    assert "layer_replication" in mutates_base(get_peft_model(llama(), layers))
