"""ΔW as merging really makes it, for any method, with the model left untouched."""

import copy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.updates import UpdatesUnavailableError, changed_layers, left_out, weight_updates

IDS = torch.arange(2, 10).view(1, 8)
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 32}


def llama(dtype=torch.float32):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES)).to(dtype).eval()


def gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=16)).eval()


def disturbed(base, name, fields=None):
    model = attach(base, name, fields or {}).eval()
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def apply(base, updates):
    """The base with the updates added: what the tuned model must be."""
    for update in updates:
        layer = base.get_submodule(update.module.removeprefix("base_model.model."))
        layer.weight.data += update.delta.T if isinstance(layer, Conv1D) else update.delta
    return base


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vefa", {}),
        ("lorfa", {}),
        ("lora", {}),
        ("lora", {"use_dora": True}),
        ("lora", {"init_lora_weights": "pissa"}),
        ("ia3", {}),
        ("oft", {}),
        ("hra", {}),
        ("loha", {}),
        ("vera", {}),
        ("boft", {}),
        ("vefa", {"modules_to_save": ["lm_head"]}),
    ],
)
@pytest.mark.parametrize("make", [llama, gpt2])
def test_base_plus_updates_is_the_tuned_model(name, fields, make):
    if make is gpt2 and (
        fields.get("modules_to_save") or fields.get("init_lora_weights") or name in {"oft", "hra", "boft", "loha"}
    ):
        pytest.skip("needs an untied head, or nn.Linear")
    model = disturbed(make(), name, fields)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tuned = model(IDS).logits
    base = make() if fields.get("init_lora_weights") else None
    updates = list(weight_updates(model, base))
    assert [update.module for update in updates] == changed_layers(model, base)
    assert all(update.delta.any() and update.weight.shape == update.delta.shape for update in updates)
    torch.testing.assert_close(apply(make(), [_plain(u) for u in updates])(IDS).logits, tuned, rtol=0, atol=2e-6)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(model(IDS).logits, tuned)


def _plain(update):
    return update._replace(module=update.module.replace(".original_module", ""))


def test_names_are_those_of_modules_that_see_the_layers_input():
    model = disturbed(llama(), "vefa")
    seen = {}
    for name in changed_layers(model):
        model.get_submodule(name).register_forward_pre_hook(lambda _, args, n=name: seen.update({n: args[0].shape[-1]}))
    model(IDS)
    assert seen == {update.module: update.weight.shape[1] for update in weight_updates(model)}


def test_a_16_bit_base_gives_the_adapters_change_and_not_the_roundings():
    model = disturbed(llama(torch.bfloat16), "vefa")
    for update in weight_updates(model):
        lam = model.get_submodule(update.module).vefa_lambda["default"].weight
        assert update.delta.dtype == torch.float32
        torch.testing.assert_close(update.delta, update.weight * lam, rtol=1e-4, atol=1e-7)


def test_a_merged_model_gives_the_same():
    model = disturbed(llama(), "lorfa")
    apart = list(weight_updates(model))
    model.merge_adapter()
    for left, right in zip(apart, weight_updates(model), strict=True):
        assert torch.equal(left.weight, right.weight)
        assert torch.equal(left.delta, right.delta)


def test_two_whole_models_give_what_differs():
    base, tuned = gpt2(), gpt2()
    tuned.transformer.h[0].mlp.c_fc.weight.data[3, 5] += 1
    tuned.transformer.h[0].ln_1.weight.data += 1
    (update,) = weight_updates(tuned, base)
    assert changed_layers(tuned, base) == [update.module] == ["transformer.h.0.mlp.c_fc"]
    assert update.delta.shape == (64, 16)
    assert update.delta.nonzero().tolist() == [[5, 3]]


def test_whole_models_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="linear layers differ"):
        list(weight_updates(nn.Sequential(nn.Linear(2, 2)), nn.ModuleDict({"a": nn.Linear(2, 2)})))
    with pytest.raises(InputError, match=r"0: shape \(2, 2\) became \(3, 2\)"):
        list(weight_updates(nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(2, 2))))


@pytest.mark.parametrize("name", ["prompt_tuning", "prefix_tuning", "ln_tuning"])
def test_methods_without_weight_changes_say_so(name):
    model = attach(llama(), name, {} if name == "ln_tuning" else {"num_virtual_tokens": 3})
    with pytest.raises(UpdatesUnavailableError, match="changes no linear layer's weights"):
        changed_layers(model)
    with pytest.raises(UpdatesUnavailableError):
        list(weight_updates(model))


def test_methods_that_cannot_be_merged_say_so():
    with pytest.raises(UpdatesUnavailableError, match=r"q_proj: Linear cannot be merged"):
        list(weight_updates(attach(llama(), "lily", {})))


def test_embeddings_are_left_out_by_name():
    model = attach(llama(), "lora", {"target_modules": ["embed_tokens", "q_proj"]})
    assert left_out(model) == ["base_model.model.model.embed_tokens"]
    assert len(changed_layers(model)) == 1


def test_the_copy_shares_no_storage_with_the_model():
    model = disturbed(llama(), "lora")
    residual = copy.deepcopy(model)
    for update in weight_updates(model):
        update.weight.zero_()
    assert torch.equal(model(IDS).logits, residual(IDS).logits)
