"""The fused forms against the plain ones, for every method and for PEFT's LoRA, in whole models."""

import copy
from unittest import mock

import pytest
import torch
from contract_models import adapted, disturb, logits
from peft import LoraConfig, get_peft_model
from torch import nn

import retain
from retain.hf.adapters.accelerate import FusedLoraLinear
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.kernels import eligibility, reference_only


def needs(method, form):
    """Skip where a method does without an optional form."""
    if getattr(method.layer, form) is getattr(FeatureLayer, form):
        pytest.skip(f"{method.title} has no {form}, which is optional")


def gradients(model, batch):
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def fused(model, batch):
    """How many layers took a fused form in one forward pass."""
    with mock.patch.object(eligibility, "eligible", wraps=eligibility.eligible) as asked:
        seen = []
        asked.side_effect = lambda *tensors: seen.append(eligible(*tensors)) or seen[-1]
        logits(model, batch)
    return sum(seen)


eligible = eligibility.eligible


def layers(model):
    return sum(hasattr(module, "scaling") and hasattr(module, "base_layer") for module in model.modules())


def lora(architecture, dtype=torch.float32, **fields):
    """PEFT's LoRA away from its start."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, **fields)
    return get_peft_model(architecture.make(dtype), config).train()


def test_every_layer_takes_the_fused_form_and_gives_the_same(method, architecture):
    needs(method, "fused")
    model, batch = adapted(method, architecture), architecture.batch()
    disturb(model)
    assert fused(model, batch) == layers(model) > 0
    with reference_only():
        assert fused(model, batch) == 0
        expected, slow = logits(model, batch), gradients(model, batch)
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=5e-6)
    fast = gradients(model, batch)
    assert fast.keys() == slow.keys()
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, rtol=1e-4, atol=1e-5)


def test_pefts_lora_is_the_same_with_and_without(architecture):
    model, batch = lora(architecture), architecture.batch()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected, slow = logits(model, batch), gradients(model, batch)
    count = retain.accelerate(model)
    assert count == layers(model)
    assert retain.accelerate(model) == 0
    assert fused(model, batch) == count
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=5e-6)
    fast = gradients(model, batch)
    assert fast.keys() == slow.keys()
    for name, gradient in slow.items():
        torch.testing.assert_close(fast[name], gradient, rtol=1e-4, atol=1e-5)
    assert retain.decelerate(model) == count
    assert not any(isinstance(module, FusedLoraLinear) for module in model.modules())
    assert torch.equal(logits(model, batch), expected)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_several_loras_at_once_scaled_and_switched(llama):
    model, batch = lora(llama), llama.batch()
    model.add_adapter("second", LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    model.base_model.set_adapter(["default", "second"])
    expected = logits(model, batch)
    retain.accelerate(model)
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=5e-6)
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), logits(llama.make(), batch))
    model.merge_adapter()
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=5e-6)
    model.unmerge_adapter()


@pytest.mark.parametrize("fields", [{"use_dora": True}, {"lora_dropout": 0.5}, {"lora_bias": True}])
def test_what_is_no_plain_lora_goes_pefts_way(llama, fields):
    model, batch = lora(llama, **fields), llama.batch()
    torch.manual_seed(3)
    expected = model(**batch).logits
    retain.accelerate(model)
    torch.manual_seed(3)
    assert torch.equal(model(**batch).logits, expected)
    if "lora_dropout" in fields:  # where it does not act the fused form is taken
        assert fused(model.eval(), batch) == layers(model)


def test_loras_on_a_mixed_batch(llama):
    model, batch = lora(llama).eval(), llama.batch()
    model.add_adapter("second", LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    rows = ["default", "second", "__base__", "second"]
    expected = model(input_ids=batch["input_ids"], adapter_names=rows).logits
    retain.accelerate(model)
    assert torch.equal(model(input_ids=batch["input_ids"], adapter_names=rows).logits, expected)


def test_nothing_to_accelerate_is_said():
    with pytest.raises(retain.InputError, match="no LoRA layer"):
        retain.accelerate(nn.Linear(2, 2))


def test_a_hook_on_the_base_is_called(method, llama):
    model = adapted(method, llama)
    disturb(model)
    expected, seen = logits(model, llama.batch()), []
    layer = next(module for module in model.modules() if hasattr(module, "base_layer"))
    with layer.base_layer.register_forward_hook(lambda *_: seen.append(1)):
        torch.testing.assert_close(logits(model, llama.batch()), expected, rtol=0, atol=5e-6)
    assert seen == [1]


def test_a_mixed_batch_is_one_call_of_the_base(method, llama):
    needs(method, "shifted_rows")
    model, batch = adapted(method, llama), llama.batch()
    disturb(model)
    model.add_adapter("second", copy.deepcopy(model.peft_config["default"]))
    disturb(model)
    layer = next(module for module in model.modules() if hasattr(module, "base_layer"))
    rows, calls = ["default", "second", "__base__", "second"], []
    ids = batch["input_ids"]
    with reference_only():
        expected = model.eval()(input_ids=ids, adapter_names=rows).logits
    with layer.base_layer.register_forward_hook(lambda *_: calls.append(1)):
        found = model(input_ids=ids, adapter_names=rows).logits
    assert calls == [1]
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-6)
    for row, name in enumerate(rows):
        if name != "__base__":
            model.set_adapter(name)
            torch.testing.assert_close(found[row], model(input_ids=ids[row : row + 1]).logits[0], rtol=0, atol=1e-5)


def kept_bytes(model, batch):
    """Bytes of distinct storages, parameters aside, that the graph of one forward pass holds.

    Read off the graph, since who counts saved tensors by hooks is given the plain ones.
    """
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    loss = model(**batch).loss
    found, stack, seen = {}, [loss.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        stack += [following for following, _ in node.next_functions]
        tensors = list(getattr(node, "saved_tensors", ()))
        tensors += [getattr(node, name) for name in dir(node) if name.startswith("_saved_")]
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in parameters:
                found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(found.values())


def test_less_is_kept_for_the_backward_pass(method, dtype):
    """Of a model with wide layers, where what is kept counts: at most 9 % more than the frozen one's."""
    needs(method, "fused")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
        attn_implementation="sdpa",
    )  # fmt: skip
    base = LlamaForCausalLM(config).to(dtype).requires_grad_(requires_grad=False)
    base.enable_input_require_grads()
    batch = {"input_ids": torch.randint(0, 64, (2, 64)), "labels": torch.randint(0, 64, (2, 64))}
    frozen = kept_bytes(base, batch)
    model = get_peft_model(base, method.config(target_modules="all-linear"))
    ours = kept_bytes(model, batch)
    with reference_only():
        before = kept_bytes(model, batch)
    assert ours < 1.09 * frozen
    assert ours - frozen < 0.35 * (before - frozen)
