"""The update scaling inside a context, beyond the contract: groups, several adapters, heads, whole models."""

import copy

import pytest
import torch
from peft import PeftModel
from scaling_models import IDS, disturb, run, trained
from torch import nn
from transformers import AutoModelForCausalLM, BertForSequenceClassification

from retain.errors import InputError
from retain.hf.models.updates import weight_updates
from retain.hf.scaling.scaled import scaled
from retain.hf.scaling.write_scaled import merged_at, write_at
from tiny import make_bert, make_llama


def test_a_number_for_each_group_of_layers():
    model = trained()
    full = {u.module: u.delta for u in weight_updates(model)}
    with scaled(model, {r"layers\.0\..*q_proj": 0.5, r"layers\.0\.": 0.25, "v_proj": -1}):
        found = {u.module: u.delta for u in weight_updates(model)}
    for name, delta in found.items():
        alpha = 1.0
        if "layers.0." in name:
            alpha = 0.5 if "q_proj" in name else 0.25
        elif "v_proj" in name:
            alpha = -1.0
        torch.testing.assert_close(delta, alpha * full[name], rtol=0, atol=1e-7)


def test_a_group_at_0_is_off_and_the_others_are_on():
    model = trained()
    with scaled(model, {"mlp": 0}):
        found = run(model)
    for name, module in model.named_modules():
        if "lora_B" in name and "mlp" in name and isinstance(module, nn.Linear):
            module.weight.data.zero_()
    torch.testing.assert_close(found, run(model), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["lora", "dora", "vefa", "ia3"])
def test_several_active_adapters_are_scaled_together(name):
    fields = {"use_dora": True} if name == "dora" else {}
    model = trained("lora" if name == "dora" else name, fields)
    model.add_adapter("second", model.peft_config["default"])
    model.base_model.set_adapter(["default", "second"])
    disturb(model, seed=9).eval()
    tuned, base = copy.deepcopy(model).merge_and_unload().state_dict(), make_llama().state_dict()
    mixed = make_llama()
    mixed.load_state_dict({key: value + 0.3 * (tuned[key] - value) for key, value in base.items()})
    with scaled(model, 0.3):
        found = run(model)
    torch.testing.assert_close(found, run(mixed), rtol=0, atol=2e-5 if name == "dora" else 5e-6)


def test_a_classifiers_head_is_interpolated():
    torch.manual_seed(0)
    body = make_bert()
    base = BertForSequenceClassification(body.config).eval()
    model = trained("vefa", base=copy.deepcopy(base))
    head = model.base_model.model.classifier
    before, after = head.original_module.weight.clone(), head.modules_to_save["default"].weight.clone()
    assert not torch.equal(before, after)
    with scaled(model, 0.25):
        torch.testing.assert_close(head.modules_to_save["default"].weight, before + 0.25 * (after - before))
    assert torch.equal(after, head.modules_to_save["default"].weight)
    with scaled(model, 0):
        assert torch.equal(run(model), run(base))
    with scaled(model, {"classifier": 0}):
        assert not torch.equal(run(model), run(base))


def test_a_fully_trained_model_is_interpolated_with_its_base(tmp_path):
    base, model = make_llama(), disturb(make_llama())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tuned = run(model)
    with scaled(model, 0.3, base=base):
        found = run(model)
        for key, value in model.state_dict().items():
            W0 = base.state_dict()[key].double()
            torch.testing.assert_close(value, (W0 + 0.3 * (before[key].double() - W0)).float(), rtol=0, atol=1e-7)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(run(model), tuned)
    with scaled(model, 0, base=base):
        assert torch.equal(run(model), run(base))
    with scaled(model, {"mlp": 0, "": 1}, base=base):
        assert torch.equal(model.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)
        assert not torch.equal(model.lm_head.weight, base.lm_head.weight)
    for writer in (write_at, merged_at):
        loaded = AutoModelForCausalLM.from_pretrained(writer(model, 0.3, tmp_path / "whole", base=base))
        assert torch.equal(run(loaded), found)


def test_16_bit_interpolation_is_rounded_once():
    base, model = make_llama().bfloat16(), disturb(make_llama()).bfloat16()
    W0, W = (m.lm_head.weight.detach().clone() for m in (base, model))
    with scaled(model, 0.3, base=base):
        assert torch.equal(model.lm_head.weight, (W0.float() + 0.3 * (W.float() - W0.float())).bfloat16())


def test_trained_tokens_are_scaled_from_what_they_were(tmp_path):
    model = trained("trainable_tokens", {"token_indices": [3, 5]})
    base = make_llama()
    rows = copy.deepcopy(model).merge_and_unload().model.embed_tokens.weight
    mixed = make_llama()
    mixed.model.embed_tokens.weight.data += 0.3 * (rows - mixed.model.embed_tokens.weight).detach()
    with scaled(model, 0.3):
        torch.testing.assert_close(run(model), run(mixed), rtol=0, atol=1e-6)
    with scaled(model, 0):
        assert torch.equal(run(model), run(base))
    loaded = PeftModel.from_pretrained(make_llama(), write_at(model, 0.3, tmp_path / "at"))
    torch.testing.assert_close(run(loaded.eval()), run(mixed), rtol=0, atol=1e-6)


def test_norms_tuned_beside_their_originals():
    model = trained("ln_tuning")
    with scaled(model, 0):
        assert torch.equal(run(model), run(make_llama()))
    mixed = make_llama()
    tuned = copy.deepcopy(model).merge_and_unload()
    for key, parameter in mixed.named_parameters():
        parameter.data += 0.3 * (tuned.get_parameter(key).detach() - parameter.data)
    with scaled(model, 0.3):
        torch.testing.assert_close(run(model), run(mixed), rtol=0, atol=1e-6)


def test_gradients_flow_and_training_flags_stay():
    model = trained("lora", {"use_dora": True}).train()
    with scaled(model, 0.5):
        model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.requires_grad)
    assert model.training


def test_a_base_must_be_the_models_own():
    with pytest.raises(InputError, match="leave base out"), scaled(trained(), 0.5, base=make_llama()):
        pass
    with (
        pytest.raises(InputError, match="rows for 70 tokens and its base for 71"),
        scaled(make_llama(), 0.5, base=make_llama(vocabulary=71)),
    ):
        pass
