"""Adapters that are not of this model, and adapter folders that are damaged or hostile, given to `retain measure`."""

import json
import pickle
import struct

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

import retain
from retain.cli.main import main
from retain.hf.adapters.attach import attach
from retain.hf.adapters.save import save_weights
from tiny import make_llama, make_tokenizer


def llama(layers=2, seed=0):
    config = make_llama().config
    config.num_hidden_layers = layers
    config.layer_types = None
    torch.manual_seed(seed)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of bases by layers and seed, of the same widths."""
    made = {}

    def folder(layers=2, seed=0):
        if (layers, seed) not in made:
            place = tmp_path_factory.mktemp("bases") / f"{layers}-{seed}"
            llama(layers, seed).save_pretrained(place)
            make_tokenizer().save_pretrained(place)
            made[layers, seed] = place
        return made[layers, seed]

    return folder


@pytest.fixture
def told(tmp_path, tiny_data, capsys, bases):
    """What `retain measure` says of an adapter that it refuses, before anything is answered."""

    def run(adapter, base=None):
        keep = str(tiny_data / "letters.jsonl")
        words = ["--model", str(base or bases()), "--tuned", str(adapter), "--keep", keep]
        assert main(["measure", *words, "--output", str(tmp_path / "out")]) == 2
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert "answers" not in said.out
        return said.err

    return run


def adapter(folder, method="lora", model=None, **fields):
    """A plain adapter as PEFT writes it."""
    attach(model or llama(), method, {"target_modules": ["q_proj", "v_proj"], **fields}).save_pretrained(folder)
    return folder


def reconfigured(folder, **fields):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


@pytest.mark.parametrize("method", ["lora", "vefa", "lorfa", "ia3"])
def test_an_adapter_of_four_layers_on_a_base_of_two(method, tmp_path, told):
    fields = {"feedforward_modules": []} if method == "ia3" else {}
    assert "have no place in this one" in told(adapter(tmp_path / "a", method, llama(4), **fields))


def test_an_adapter_of_two_layers_on_a_base_of_four(tmp_path, told, bases):
    save_weights(attach(llama(), "lora", {"r": 2}), tmp_path / "ours")
    assert "another base" in told(tmp_path / "ours", bases(4))
    assert "have no weights in it" in told(adapter(tmp_path / "plain"), bases(4))


def test_an_adapter_of_another_base_of_the_same_shape(tmp_path, told, bases):
    save_weights(attach(llama(seed=1), "vefa", {}), tmp_path / "a")
    assert "another base" in told(tmp_path / "a")


def test_target_modules_cut_down_or_mistyped(tmp_path, told):
    assert "no place" in told(reconfigured(adapter(tmp_path / "a"), target_modules=["model.layers.0.self_attn.q_proj"]))
    assert "no place" in told(reconfigured(adapter(tmp_path / "b", "vefa"), target_modules=["q_proj", "v_proi"]))


def test_weights_that_are_not_finite_are_refused_in_python_as_well(tmp_path):
    path = adapter(tmp_path / "a") / "adapter_model.safetensors"
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(path).items()}, path)
    with pytest.raises(retain.errors.InputError, match="not finite"):
        retain.load_adapter(llama(), tmp_path / "a")


class Bomb:
    """A pickle that writes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_a_pickle_is_never_read(name, tmp_path, told):
    adapter(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    (tmp_path / "a" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert "adapter_model" in told(tmp_path / "a")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": [None]},
        {"target_modules": 3},
        {"bias": ["none"]},
        {"alpha_pattern": 3},
        {"alpha_pattern": {"q_proj": "x"}},
        {"rank_pattern": []},
        {"megatron_config": {"a": 1}, "megatron_core": "os"},
        {"lora_alpha": None},
        {"lora_alpha": "16"},
        {"r": "8"},
        {"r": None},
        {"init_lora_weights": [1]},
        {"modules_to_save": "lm_head"},
        {"layers_to_transform": {"a": 1}},
        {"loftq_config": 7},
        {"peft_type": ["LORA"]},
        {"peft_type": "NONE"},
        {"task_type": "WRITE_POEMS"},
        {"use_dora": "yes"},
        {"fan_in_fan_out": None},
        {"runtime_config": []},
        {"corda_config": "x"},
        {"lora_dropout": 7},
        {"trainable_token_indices": ["a"]},
        {"layer_replication": [[0, 99]]},
    ],
)
def test_a_damaged_configuration_is_one_sentence(fields, tmp_path, told):
    assert len(told(reconfigured(adapter(tmp_path / "a"), **fields)).splitlines()) <= 4


@pytest.mark.parametrize(
    "text",
    [
        '{"peft_type": "\\ud800"}',
        "[" * 10**5,
        '{"r": 1' + "0" * 6000 + "}",
        "",
        "\x00",
        '{"peft_type": "LORA", "r": NaN}',
    ],
)
def test_hostile_json_is_one_sentence(text, tmp_path, told):
    adapter(tmp_path / "a")
    for name in ("adapter_config.json", "retain_adapter.json", "retain_initialisation.json"):
        (tmp_path / "a" / name).write_text(text)
        assert name in told(tmp_path / "a")
        (tmp_path / "a" / name).unlink()
        adapter(tmp_path / "a")


def test_a_surrogate_in_the_configuration_is_found_before_anything_is_answered(tmp_path, told):
    path = adapter(tmp_path / "a") / "adapter_config.json"
    path.write_text(path.read_text().replace('"peft_version": "', '"peft_version": "\\udcff'))
    assert "adapter_config.json" in told(tmp_path / "a")


@pytest.mark.parametrize("marks", [{"a": "x"}, {"a": None}, [1], "x"])
def test_marks_of_an_initialisation_that_are_no_numbers(marks, tmp_path, told):
    (adapter(tmp_path / "a") / "retain_initialisation.json").write_text(json.dumps({"B0_marks": marks}))
    assert "B0_marks" in told(tmp_path / "a")


def test_a_file_whose_head_says_another_dtype(tmp_path, told):
    path = adapter(tmp_path / "a") / "adapter_model.safetensors"
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    path.write_bytes(content[:8] + content[8 : 8 + size].replace(b'"F32"', b'"I32"', 1) + content[8 + size :])
    assert "whole numbers where weights should be" in told(tmp_path / "a")


def test_an_adapter_that_stock_peft_wrote_and_merged_models_still_measure(tmp_path, bases, tiny_data):
    model = get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    model.save_pretrained(tmp_path / "a")
    keep = str(tiny_data / "letters.jsonl")
    words = ["measure", "--model", str(bases()), "--keep", keep]
    assert main([*words, "--tuned", str(tmp_path / "a"), "--output", str(tmp_path / "one")]) == 0
    PeftModel.from_pretrained(llama(), tmp_path / "a").merge_and_unload().save_pretrained(tmp_path / "merged")
    assert main([*words, "--tuned", str(tmp_path / "merged"), "--output", str(tmp_path / "two")]) == 0


def whole_copy(base, place, change):
    """A copy of a model in full whose tensors were changed."""
    LlamaForCausalLM.from_pretrained(base).save_pretrained(place)
    make_tokenizer().save_pretrained(place)
    tensors = load_file(place / "model.safetensors")
    change(tensors)
    save_file(tensors, place / "model.safetensors", {"format": "pt"})
    return place


QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize("side", ["model", "tuned"])
def test_a_whole_model_with_a_weight_missing_is_refused(side, bases, tiny_data, tmp_path, capsys):
    """transformers makes it up; so the figures would be those of a random layer."""
    cut = whole_copy(bases(), tmp_path / "cut", lambda tensors: tensors.pop(QUERY))
    given = {"model": bases(), "tuned": bases(), side: cut}
    words = ["--model", str(given["model"]), "--tuned", str(given["tuned"]), "--test", str(tiny_data / "test.jsonl")]
    assert main(["measure", *words, "--output", str(tmp_path / "out")]) == 2
    assert f"{side}: the files of {cut} hold no values for {QUERY}" in capsys.readouterr().err


def test_a_whole_model_that_is_not_finite_is_refused(bases, tiny_data, tmp_path, capsys):
    broken = whole_copy(bases(), tmp_path / "nan", lambda tensors: tensors[QUERY][0].fill_(float("nan")))
    words = ["--model", str(bases()), "--tuned", str(broken), "--test", str(tiny_data / "test.jsonl")]
    assert main(["measure", *words, "--output", str(tmp_path / "out")]) == 2
    assert f"{QUERY} holds values that are not finite" in capsys.readouterr().err


def test_layers_that_the_configuration_does_not_count_are_told(bases, tmp_path, caplog):
    from retain.jobs.inputs.models import ModelSpec

    extra = whole_copy(
        bases(), tmp_path / "more", lambda tensors: tensors.update({QUERY.replace("1", "5"): tensors[QUERY].clone()})
    )
    ModelSpec(str(extra)).load()
    assert "holds layers that its config.json does not count: model.layers.5.self_attn.q_proj.weight" in caplog.text


def test_a_tuned_model_that_is_not_built_as_its_base_is_told(bases, tiny_data, tmp_path):
    """The wrong size of a family as --model: everything can be measured, and nothing of it means what it says."""
    for layers, told in ((2, False), (3, True)):
        words = ["--model", str(bases()), "--tuned", str(bases(layers, 1)), "--test", str(tiny_data / "test.jsonl")]
        assert main(["measure", *words, "--generate", "0", "--output", str(tmp_path / f"{layers}")]) == 0
        notes = json.loads((tmp_path / f"{layers}" / "result.json").read_text())["provenance"]["notes"]
        assert any("built of different weights (9 differ in name or size" in note for note in notes) is told
