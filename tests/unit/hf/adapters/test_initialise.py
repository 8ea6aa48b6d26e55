"""Adapters with given factors: attached where nothing is in the way, marked by their note, and restored by it."""

import json

import pytest
import torch
from peft import PeftModel

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.initialise import (
    NOTE,
    attach_initialised,
    check_free,
    note_of,
    read_note,
    restore_initialised,
    weight_of,
)
from retain.hf.adapters.residual_lora import residual_layers
from retain.hf.tuners.targets import lora_targets
from tiny import make_llama

FIELDS = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"]}
IDS = torch.arange(2, 18).view(2, 8)


def attached(model=None, seed=0):
    model = model or make_llama()
    generator = torch.Generator().manual_seed(seed)
    factors = {
        key: (
            torch.randn(2, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 2, generator=generator),
        )
        for key, layer in lora_targets(model, FIELDS).items()
    }
    return attach_initialised(model, FIELDS, factors, {"config": {"initialisation": "by hand"}}).eval()


def test_the_model_is_the_base_and_the_adapter_has_twice_the_rank():
    model = attached()
    assert torch.equal(model(IDS).logits, make_llama()(IDS).logits)
    assert (model.peft_config["default"].r, model.peft_config["default"].lora_alpha) == (4, 8)
    assert len(residual_layers(model, "default")) == 4
    assert note_of(model)["config"] == {"initialisation": "by hand"}
    assert note_of(attach(make_llama(), "lora", {})) is None


def test_the_note_lies_beside_the_adapter_and_restores_it(tmp_path):
    model = attached()
    model.save_pretrained(tmp_path)
    note = read_note(tmp_path)
    assert note == json.loads((tmp_path / NOTE).read_text())
    plain = PeftModel.from_pretrained(make_llama(), tmp_path)
    assert not residual_layers(plain, "default")
    restore_initialised(plain, "default", note)
    assert len(residual_layers(plain, "default")) == 4
    assert note_of(plain) == note


def test_the_note_of_another_adapter_is_refused(tmp_path):
    attached(seed=1).save_pretrained(tmp_path)
    other = note_of(attached(seed=2))
    with pytest.raises(InputError, match="is of another adapter"):
        restore_initialised(PeftModel.from_pretrained(make_llama(), tmp_path), "default", dict(other))


@pytest.mark.parametrize(("text", "said"), [("{", "damaged"), ("[]", "expected a JSON object")])
def test_a_damaged_note_is_named(text, said, tmp_path):
    (tmp_path / NOTE).write_text(text)
    with pytest.raises(InputError, match=said):
        read_note(tmp_path)


def test_no_note_where_there_is_none(tmp_path):
    assert read_note(tmp_path) is None
    assert read_note("not a repository at all/really/not") is None


def test_names_that_are_taken_and_other_methods_are_refused():
    with pytest.raises(InputError, match="adapter 'default' already"):
        check_free(attached(), "default")
    with pytest.raises(InputError, match="is no LoRA"):
        check_free(attach(make_llama(), "vefa", {}), "other")
    check_free(make_llama(), "default")


def test_a_failure_leaves_the_model_as_it_was():
    model = make_llama().requires_grad_(requires_grad=False)
    with pytest.raises(KeyError):
        attach_initialised(model, FIELDS, {}, {})
    assert not any("lora" in key for key, _ in model.named_modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_weight_is_read_in_float32_with_its_bias():
    layer = torch.nn.Linear(3, 2).bfloat16()
    W0, bias = weight_of(layer, layer)
    assert (W0.dtype, bias.dtype) == (torch.float32, torch.float32)
    assert torch.equal(W0, layer.weight.float())
    assert weight_of(torch.nn.Linear(3, 2, bias=False), layer)[1] is None
