"""Adapters that PEFT adds from the configuration of a residual LoRA."""

import copy
import pickle
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

import retain
from retain.hf.adapters.residual_lora import ResidualDown, initial_factors, residual_layers
from tiny import make_llama
from trl_runs import batches

X = torch.arange(6, 26)[None]


def sc_lora(base=None, **fields):
    new, old = batches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", retain.CalibrationWarning)
        config = retain.SCLoRAConfig(r=2, target_modules=["q_proj", "down_proj"], **fields)
        return retain.sc_lora(base or make_llama(), config, learn=[new], keep=[old])


def trained(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return model.eval()


@torch.no_grad()
def output(model, adapter="default"):
    model.set_adapter(adapter)
    return model(X).logits


def copy_by_name(model, target):
    """As TRL does for its reference model: parameters only, no buffers."""
    for name, parameter in model.named_parameters():
        if ".default." in name:
            model.get_parameter(name.replace(".default.", f".{target}.")).data.copy_(parameter.data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("target", ["ref", "second-one"])
def test_parameters_copied_by_name_give_the_same_function(dtype, target):
    model = trained(sc_lora(make_llama().to(dtype), lora_alpha=3.0))
    wanted = output(model)
    model.add_adapter(target, model.peft_config["default"])
    base = output(model, target)
    with model.disable_adapter():
        assert torch.equal(output(model), base)  # a new adapter changes nothing
    copy_by_name(model, target)
    assert torch.equal(output(model, target), wanted)
    halves = [m[name] for m in (part.lora_A for part in residual_layers(model, target).values()) for name in m]
    assert {half.initial.dtype for half in halves} == {half.delta.dtype for half in halves} == {torch.float32}


def test_a_copy_begins_where_the_first_began_and_trains_apart():
    model = sc_lora()
    model.add_adapter("two", model.peft_config["default"])
    starts = initial_factors(model)
    assert all(torch.equal(starts[key], starts[key.replace("default", "two")]) for key in starts if "default" in key)
    first, second = (layer.lora_A for layer in list(residual_layers(model, "two").values())[:2])
    assert first["default"].initial.data_ptr() != first["two"].initial.data_ptr()
    model.set_adapter("two")
    assert second["two"].delta.requires_grad
    assert not second["default"].delta.requires_grad
    trained(model)
    wanted = output(model, "two")
    assert not torch.equal(output(model), wanted)
    model.delete_adapter("default")
    assert torch.equal(output(model, "two"), wanted)
    model.add_adapter("three", model.peft_config["two"])
    assert isinstance(next(iter(residual_layers(model, "three").values())).lora_A["three"], ResidualDown)


def test_state_dicts_carry_one_adapter_into_another():
    model = trained(sc_lora())
    model.add_adapter("ref", copy.deepcopy(model.peft_config["default"]))
    set_peft_model_state_dict(model, get_peft_model_state_dict(model), adapter_name="ref")
    assert torch.equal(output(model, "ref"), output(model))


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301 -- made here
def test_copies_of_a_model_add_residual_loras_too(remake):
    model = remake(trained(sc_lora()))
    model.add_adapter("ref", model.peft_config["default"])
    copy_by_name(model, "ref")
    assert torch.equal(output(model, "ref"), output(model))


def test_a_loaded_adapter_is_added_to_and_saved_twice(tmp_path):
    trained(sc_lora()).save_pretrained(tmp_path / "one")
    model = retain.load_adapter(make_llama(), tmp_path / "one", trainable=True).eval()
    model.add_adapter("ref", model.peft_config["default"])
    copy_by_name(model, "ref")
    wanted = output(model)
    trained(model)
    model.save_pretrained(tmp_path / "two")
    assert torch.equal(output(retain.load_adapter(make_llama(), tmp_path / "two" / "ref")), wanted)
    assert torch.equal(output(retain.load_adapter(make_llama(), tmp_path / "two", trainable=True)), output(model))


def test_an_ordinary_lora_beside_it_stays_one_and_so_does_a_sum():
    model = trained(sc_lora())
    model.add_adapter("plain", LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    assert not residual_layers(model, "plain")
    model.add_weighted_adapter(["default", "plain"], [0.5, 1.0], "sum", combination_type="cat")
    assert not residual_layers(model, "sum")
    assert torch.isfinite(output(model, "sum")).all()


def test_factors_that_are_nowhere_are_said_to_be_missing():
    config = sc_lora().peft_config["default"]
    other = make_llama()
    before = {name for name, _ in other.named_modules()}
    with pytest.raises(ValueError, match=r"initial factors were computed from data.*retain\.load_adapter") as error:
        get_peft_model(other, config)
    assert isinstance(error.value, retain.InputError)
    assert {name for name, _ in other.named_modules()} == before
    another = sc_lora(make_llama(3))
    with pytest.raises(retain.InputError, match=r"retain\.sc_lora"):
        another.add_adapter("foreign", config)
    assert list(another.peft_config) == ["default"]
    assert torch.isfinite(output(another)).all()
