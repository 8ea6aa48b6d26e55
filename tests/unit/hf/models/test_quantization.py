"""Quantisations that recipes ask for, what is told of those that cannot be, and how a quantised base is prepared."""

import importlib.util

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

from retain.errors import InputError
from retain.hf.models.quantization import (
    already_problem,
    loading_problems,
    own_quantization,
    prepared,
    quantised_layers,
    quantization_note,
    training_problem,
    unmatched_modules,
)
from retain.hf.models.quantization_config import quantization_config
from tiny import make_llama

pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
pytest.importorskip("torchao", reason="the extra 'quant' is not installed")


def told(wanted):
    with pytest.raises(InputError) as caught:
        quantization_config(wanted)
    return " ".join(caught.value.problems)


def test_four_bits_are_qloras():
    config = quantization_config("4bit")
    assert (config.load_in_4bit, config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert quantization_config("8bit").load_in_8bit
    assert type(quantization_config("torchao-int8").quant_type).__name__ == "Int8WeightOnlyConfig"


def test_fields_are_those_of_transformers():
    fields = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}
    assert quantization_config(fields).bnb_4bit_quant_type == "fp4"
    assert quantization_config({"load_in_8bit": True, "llm_int8_threshold": 4}).llm_int8_threshold == 4.0
    kind = {"class": "Int8DynamicActivationInt8WeightConfig"}
    config = quantization_config({"class": "TorchAoConfig", "quant_type": kind, "modules_to_not_convert": ["lm_head"]})
    assert type(config.quant_type).__name__ == kind["class"]
    saved = quantization_config({"class": "TorchAoConfig", "quant_type": config.to_dict()["quant_type"]})
    assert saved.quant_type == config.quant_type


WRONG = {
    "no class": ({"class": "FourBits"}, "no quantisation class 'FourBits'; it has AqlmConfig"),
    "no method": ({"quant_method": "nf4"}, "expected one of .*bitsandbytes.* .found 'nf4'."),
    "nothing said": ({"bnb_4bit_quant_type": "nf4"}, "found nothing"),
    "unknown field": ({"load_in_4bit": True, "quant_type": "nf4"}, "has no such field; it has bnb_4bit_compute_dtype"),
    "wrong name": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf3"}, "expected nf4 or fp4 .found 'nf3'"),
    "wrong dtype": ({"load_in_4bit": True, "bnb_4bit_compute_dtype": "bf16"}, "expected bfloat16 or .*found 'bf16'"),
    "text for true": ({"load_in_4bit": "yes"}, "expected true or false .found 'yes'"),
    "both": ({"load_in_4bit": True, "load_in_8bit": True}, "only one can be used"),
    "neither": ({"quant_method": "bitsandbytes", "load_in_4bit": False}, "nothing is quantised so"),
    "a threshold below 0": ({"load_in_8bit": True, "llm_int8_threshold": -5}, "a finite number of 0 or more .found -5"),
    "no threshold": ({"load_in_8bit": True, "llm_int8_threshold": float("nan")}, "a finite number of 0 or more"),
    "a number for a name": ({"load_in_8bit": True, "llm_int8_skip_modules": [1]}, "a list of modules' names .found .1"),
    "a name for a list": (
        {"class": "TorchAoConfig", "quant_type": "Int8WeightOnlyConfig", "modules_to_not_convert": "lm_head"},
        "a list of modules' names .found 'lm_head'",
    ),
    "of 4 bits": ({"load_in_8bit": True, "bnb_4bit_quant_type": "nf4"}, "is not read with load_in_8bit"),
    "of 8 bits": ({"load_in_4bit": True, "llm_int8_threshold": 4}, "is not read with load_in_4bit"),
    "torchao's field": (
        {"class": "TorchAoConfig", "quant_type": {"class": "Int8WeightOnlyConfig", "foo": 1}},
        "quant_type.foo: Int8WeightOnlyConfig has no such field; it has granularity",
    ),
    "torchao's number": (
        {"class": "TorchAoConfig", "quant_type": {"class": "Int4WeightOnlyConfig", "group_size": "x"}},
        "quant_type.group_size: expected a whole number of 1 or more .found 'x'",
    ),
    "another package's": ({"class": "HqqConfig"}, "HqqConfig cannot be used here: A valid HQQ version"),
    "no type": ({"class": "TorchAoConfig"}, "quant_type: is missing"),
    "no such type": ({"class": "TorchAoConfig", "quant_type": "int8_weight_only"}, "it has .*Int8WeightOnlyConfig"),
}


@pytest.mark.parametrize(("wanted", "sentence"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_told(wanted, sentence):
    import re

    assert re.search(sentence, told(wanted)), told(wanted)


BEFOREHAND = ["awq", "bitnet", "spqr", "gptq", "aqlm", "vptq", "compressed-tensors", "quark", "auto-round", "gguf"]


@pytest.mark.parametrize("method", BEFOREHAND)
def test_what_only_checkpoints_can_be_is_told_with_what_is_possible(method):
    said = told({"quant_method": method})  # whatever packages and fields it would need
    assert "are made beforehand" in said
    assert "take 4bit, 8bit, torchao-int8, or give a checkpoint that is quantised so, without --quantization" in said


def test_modules_that_are_left_out_must_be_there():
    model, field = make_llama(), "llm_int8_skip_modules"
    told = {
        name: unmatched_modules(quantization_config({"load_in_4bit": True, field: [name]}), model)
        for name in ("lm_head", "q_proj", "model.layers.0", "model.layers.*", "nowhere", "q_pro(")
    }
    assert [name for name, problems in told.items() if problems] == ["nowhere", "q_pro("]
    assert "no module of the model is named 'nowhere'; its linear layers are named down_proj" in told["nowhere"][0]
    assert "is no regular expression" in told["q_pro("][0]
    assert unmatched_modules(quantization_config("8bit"), model) == []


def test_all_problems_are_told_at_once():
    assert told({"load_in_4bit": True, "foo": 1, "bar": 2, "bnb_4bit_quant_type": "x"}).count("quantization.") == 3


@pytest.mark.parametrize(("wanted", "package"), [("4bit", "bitsandbytes"), ("torchao-int8", "torchao")])
def test_a_missing_package_is_told_with_what_to_install(monkeypatch, wanted, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more))
    assert told(wanted) == (
        f"quantization: needs the package {package}, which is not installed; say pip install 'retain[quant]' "
        f"(or {package} alone)."
    )


def test_what_needs_another_package_or_data_or_cannot_be_trained_is_told_before_loading():
    quanto = loading_problems(quantization_config({"class": "QuantoConfig"}), None, quantised_before=False)
    assert "optimum-quanto" in quanto[0]
    split = {"": "cpu", "model.layers.1": "disk"}
    assert (
        "Some modules are dispatched" in loading_problems(quantization_config("4bit"), split, quantised_before=False)[0]
    )
    for name in ("4bit", "8bit", "torchao-int8"):
        assert loading_problems(quantization_config(name), {"": "cpu"}, quantised_before=False) == []
        assert training_problem(quantization_config(name), quantised_before=False) is None
    untrained = quantization_config({"class": "TorchAoConfig", "quant_type": "Int4WeightOnlyConfig"})
    assert "cannot train" in training_problem(untrained, quantised_before=False)


def test_a_checkpoint_that_is_quantised_is_taken_as_it_is_or_refused():
    own = quantization_config("4bit").to_dict()
    assert already_problem(own, quantization_config("4bit")) is None
    other = already_problem(own, quantization_config({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}))
    assert "quantised already (bitsandbytes), otherwise than asked" in other
    assert "leave out --quantization" in already_problem(own, quantization_config("torchao-int8"))
    assert own_quantization(LlamaConfig()) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("bf16")
    make_llama().to(torch.bfloat16).save_pretrained(place)
    return place


@pytest.mark.parametrize("name", ["4bit", "8bit"])
def test_what_is_left_in_16_bits_is_measured_and_trained_in_32(folder, name):
    config = quantization_config(name)
    model = prepared(AutoModelForCausalLM.from_pretrained(folder, quantization_config=config))
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    assert kinds == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters())
    assert len(quantised_layers(model)) == 14
    assert "quantised (bitsandbytes; " in quantization_note(model)[0]
    assert ("nf4" in quantization_note(model)[0]) == (name == "4bit")


def test_a_plain_model_is_left_alone_and_one_of_which_nothing_was_quantised_is_refused(folder):
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert prepared(plain) is plain
    assert plain.dtype == torch.bfloat16
    assert all(p.requires_grad for p in plain.parameters())
    assert quantization_note(plain) == quantization_note(plain, plain) == []
    quantised = AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantization_config("8bit"))
    for one, other in [(plain, quantised), (quantised, plain)]:
        [note] = quantization_note(one, other)
        assert "not of the tuning alone" in note
        assert "both measured so" not in note
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
    skipping = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=every)
    with pytest.raises(InputError, match="not one layer of this model was quantised"):
        prepared(AutoModelForCausalLM.from_pretrained(folder, quantization_config=skipping))


def test_fields_of_odd_kinds_are_refused_in_a_sentence():
    assert "no quantisation class ['x']" in told({"class": ["x"]})
    assert "found ['x']" in told({"quant_method": ["x"]})
    assert "expected bfloat16 or" in told({"load_in_4bit": True, "bnb_4bit_compute_dtype": "int8"})
    assert quantization_config({"load_in_4bit": True, "bnb_4bit_compute_dtype": None}).load_in_4bit
    [problem] = loading_problems({"quant_method": "torchao"}, {"": "cpu"}, quantised_before=True)
    assert "the field 'quant_type' is missing" in problem
