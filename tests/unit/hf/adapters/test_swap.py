"""Another adapter's values in the place of one's own: exact, quick, all or nothing."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

import retain
from retain import InputError, LoRFAConfig, MergeError, RotationConfig, VeFAConfig, swap_adapter
from tiny import make_llama

CONFIGS = {
    "vefa": lambda **fields: VeFAConfig(target_modules="all-linear", **fields),
    "lorfa": lambda **fields: LoRFAConfig(target_modules="all-linear", **{"r": 2, **fields}),
    "rotation": lambda **fields: RotationConfig(target_modules="all-linear", block_size=8, **fields),
    "lora": lambda **fields: LoraConfig(target_modules="all-linear", **{"r": 2, **fields}),
}
IDS = torch.arange(14).view(2, 7)


def made(kind, seed=None, name="default", **fields):
    model = get_peft_model(make_llama(), CONFIGS[kind](**fields), adapter_name=name).eval()
    if seed is not None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.1)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_values_are_those_of_the_file(kind, tmp_path):
    saved = made(kind, 1)
    saved.save_pretrained(tmp_path)
    model = made(kind, 2)
    assert not torch.equal(logits(model), logits(saved))
    swap_adapter(model, tmp_path)
    assert torch.equal(logits(model), logits(saved))
    assert all(p.requires_grad for name, p in model.named_parameters() if "default" in name)


def test_one_of_several_is_changed(tmp_path):
    saved = made("vefa", 1)
    saved.save_pretrained(tmp_path)
    model = made("vefa", 2)
    model.add_adapter("second", CONFIGS["vefa"]())
    first = logits(model)
    swap_adapter(model, tmp_path, "second")
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    assert torch.equal(logits(model), logits(saved))


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("lora", {"r": 3}, "r is 3 there and 2 here"),
        ("lora", {"lora_alpha": 99}, "lora_alpha is 99"),
        ("vefa", {}, "another kind of adapter"),
    ],
)
def test_another_kind_is_refused_and_nothing_is_changed(kind, fields, told, tmp_path):
    made(kind, 1, **fields).save_pretrained(tmp_path)
    model = made("lora", 2)
    before = state(model)
    with pytest.raises(InputError, match=told):
        swap_adapter(model, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_other_layers_are_refused(tmp_path):
    get_peft_model(make_llama(), VeFAConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    model = made("vefa", 2)
    before = state(model)
    with pytest.raises(InputError, match="no adapter of the same shape"):
        swap_adapter(model, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_cannot_be_read_is_said(tmp_path):
    model = made("vefa", 2)
    with pytest.raises(InputError, match="no adapter can be read"):
        swap_adapter(model, tmp_path)
    with pytest.raises(InputError, match="no adapter 'other'; it has default"):
        swap_adapter(model, tmp_path, "other")
    made("vefa", 1).save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        swap_adapter(model, tmp_path)


def test_values_that_no_weight_can_be_are_refused(tmp_path):
    source = made("vefa", 1)
    next(p for p in source.parameters() if p.requires_grad).data.fill_(float("nan"))
    source.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="not finite"):
        swap_adapter(made("vefa", 2), tmp_path)


def test_not_while_it_is_merged(tmp_path):
    made("vefa", 1).save_pretrained(tmp_path)
    model = made("vefa", 2)
    model.merge_adapter()
    with pytest.raises(MergeError, match="unmerge_adapter"):
        swap_adapter(model, tmp_path)


def test_a_config_of_an_older_version_with_fewer_fields(tmp_path):
    saved = made("vefa", 1)
    saved.save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"peft_type": fields["peft_type"]}), encoding="utf-8")
    model = made("vefa", 2)
    retain.swap_adapter(model, tmp_path)
    assert torch.equal(logits(model), logits(saved))
