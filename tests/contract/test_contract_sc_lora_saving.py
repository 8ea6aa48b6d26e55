"""What SC-LoRA saves is an ordinary LoRA, to whoever does not know of retain: stock PEFT, transformers, servers."""

import json
import subprocess
import sys

import pytest
import torch
from contract_models import ARCHITECTURES, logits, same_bits
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftConfig, PeftModel
from safetensors.torch import load_file
from sc_lora_models import DTYPES, INITIALISATIONS, R, bits, disturb, initialised, plain, trained
from transformers import AutoModelForCausalLM

from children import light
from retain import InputError, load_adapter
from retain.hf.adapters.initialise import note_of
from retain.hf.adapters.residual_lora import residual_layers
from retain.hf.tuners.base_weight import as_matrix

FRESH = """
import sys
sys.modules["retain"] = None
import torch, warnings
from pathlib import Path
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoModelForImageClassification
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
classes = {"bert": AutoModelForSequenceClassification, "vit": AutoModelForImageClassification}
found = {}
with torch.no_grad():
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        name, kind, initialisation = folder.name.split(" ")
        batch = torch.load(folder / "batch.pt")
        base = classes.get(name, AutoModelForCausalLM).from_pretrained(folder / "base")
        model = PeftModel.from_pretrained(base, folder / "adapter").eval()
        assert type(model.peft_config["default"]) is LoraConfig
        found[folder.name] = model(**batch).logits, model.merge_and_unload()(**batch).logits
torch.save(found, sys.argv[2])
"""
CASES = [(name, "fp32", "sc-lora") for name in ARCHITECTURES]
CASES += [("llama", "bf16", "sc-lora"), ("gpt2", "bf16", "sc-lora"), ("gpt2", "fp64", "sc-lora")]
CASES += [("llama", "fp32", initialisation) for initialisation in INITIALISATIONS[1:]]


@pytest.fixture(scope="module")
def without_retain(tmp_path_factory):
    """Logits before saving and, loaded and merged by a process that cannot import retain, after it."""
    folder, expected = tmp_path_factory.mktemp("saved"), {}
    for case in CASES:
        name, kind, initialisation = case
        architecture, dtype, place = ARCHITECTURES[name], DTYPES[kind], folder / " ".join(case)
        architecture.make(dtype).save_pretrained(place / "base")
        torch.save(architecture.batch(dtype=dtype), place / "batch.pt")
        model = initialised(architecture, dtype, initialisation=initialisation, lora_alpha=3)
        disturb(model)
        expected[case] = logits(model, architecture.batch(dtype=dtype))
        model.save_pretrained(place / "adapter")
    found = tmp_path_factory.mktemp("loaded") / "logits.pt"
    done = [sys.executable, "-c", FRESH, str(folder), str(found)]
    subprocess.run(done, check=True, timeout=240, env=light())
    return expected, torch.load(found)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_stock_peft_loads_and_merges_it_without_retain_and_without_a_warning(without_retain, case):
    expected, found = without_retain[0][case], without_retain[1][" ".join(case)]
    atol = 4e-2 if case[1] == "bf16" else 1e-6 if case[2] == "sc-lora" else 3e-6  # the others' factors are larger
    for loaded in found:
        assert loaded.dtype == expected.dtype
        torch.testing.assert_close(loaded, expected, rtol=0, atol=atol)


@pytest.fixture
def saved(architecture, tmp_path):
    """A folder with an adapter, and the model that it was saved from."""
    model = initialised(architecture, lora_alpha=3)
    disturb(model)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", model


def test_the_configuration_is_that_of_a_plain_lora_of_twice_the_rank(saved, architecture, tmp_path):
    config = json.loads((saved[0] / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2 * R, 2 * 3)
    assert (config["rank_pattern"], config["alpha_pattern"]) == ({}, {})
    assert config["init_lora_weights"] is True
    assert isinstance(config["target_modules"], list)
    assert type(PeftConfig.from_pretrained(saved[0])) is LoraConfig
    other = plain(architecture, r=2 * R, lora_alpha=6, target_modules=config["target_modules"])
    other.save_pretrained(tmp_path / "plain")
    stock = json.loads((tmp_path / "plain" / "adapter_config.json").read_text())
    assert {k: v for k, v in config.items() if not isinstance(v, list) and k not in {"task_type", "auto_mapping"}} == {
        k: v for k, v in stock.items() if not isinstance(v, list) and k not in {"task_type", "auto_mapping"}
    }
    assert config.keys() == stock.keys()


def test_the_files_hold_the_factors_of_one_rank_and_nothing_else(saved):
    folder, model = saved
    weights = load_file(folder / "adapter_model.safetensors")
    for key, layer in residual_layers(model, "default").items():
        down, up = layer.lora_A["default"], layer.lora_B["default"]
        A, B = weights.pop(f"{key}.lora_A.weight"), weights.pop(f"{key}.lora_B.weight")
        assert A.shape == (2 * R, layer.in_features)
        assert B.shape == (layer.out_features, 2 * R)
        assert torch.equal(A, torch.cat([down.delta, down.initial + down.delta]))
        assert torch.equal(B, torch.cat([up.initial, up.delta], dim=1))
    assert not weights
    names = {"adapter_config.json", "adapter_model.safetensors", "README.md", "retain_initialisation.json"}
    assert {path.name for path in folder.iterdir()} == names


def test_the_files_hold_float32_also_over_a_16_bit_base(architecture, tmp_path):
    model = initialised(architecture, torch.bfloat16)
    disturb(model)
    model.save_pretrained(tmp_path)
    assert {value.dtype for value in load_file(tmp_path / "adapter_model.safetensors").values()} == {torch.float32}
    batch = architecture.batch(dtype=torch.bfloat16)
    loaded = load_adapter(architecture.make(torch.bfloat16), tmp_path)
    assert torch.equal(logits(loaded, batch), logits(model, batch))


def as_vllm_does(folder):
    """Of each layer, the scaled product, from the fields and the tensors that vLLM's loader looks at."""
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["bias"] == "none"
    assert {config["use_dora"], config["use_rslora"], config["modules_to_save"]} == {False, None}
    targets = {name.rpartition(".")[2] for name in config["target_modules"]}
    tensors = load_file(folder / "adapter_model.safetensors")
    for name in tensors:
        module = name.removesuffix(".lora_A.weight").removesuffix(".lora_B.weight")
        assert module != name
        assert module.rpartition(".")[2] in targets
    layers = {name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")}
    scaling = config["lora_alpha"] / config["r"]
    return {key: scaling * tensors[f"{key}.lora_B.weight"] @ tensors[f"{key}.lora_A.weight"] for key in layers}


def as_llama_cpp_does(folder):
    """The same as its converter and its loader do: pairs by name, the rank from the tensors, alpha from the config."""
    alpha = json.loads((folder / "adapter_config.json").read_text())["lora_alpha"]
    pairs = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        assert name.endswith((".lora_A.weight", ".lora_B.weight"))
        assert "lora_embedding" not in name
        base, part = name[: -len(".lora_A.weight")], name[-len("lora_A.weight") :]
        pairs.setdefault(base, {})[part] = tensor
    changes = {}
    for base, pair in pairs.items():
        A, B = pair["lora_A.weight"], pair["lora_B.weight"]
        assert A.shape[0] == B.shape[1]
        changes[base] = alpha / A.shape[0] * B @ A
    return changes


@pytest.mark.parametrize("served", [as_vllm_does, as_llama_cpp_does])
def test_servers_that_know_plain_loras_only_get_the_same_weights(saved, architecture, served):
    folder, model = saved
    changes = served(folder)
    expected = logits(model, architecture.batch())
    base = architecture.make()
    for key, change in changes.items():
        layer = base.get_submodule(key.removeprefix("base_model.model."))
        layer.weight.data += as_matrix(layer, change)
    torch.testing.assert_close(logits(base, architecture.batch()), expected, rtol=0, atol=2e-6)
    merged = bits(model.merge_and_unload())
    for key, value in bits(base).items():
        torch.testing.assert_close(value, merged[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("low", [False, True])
def test_stock_peft_with_retain_imported(saved, architecture, low):
    folder, model = saved
    loaded = PeftModel.from_pretrained(architecture.make(), folder, low_cpu_mem_usage=low).eval()
    expected = logits(model, architecture.batch())
    torch.testing.assert_close(logits(loaded, architecture.batch()), expected, rtol=0, atol=1e-6)
    assert not trained(loaded)


def test_saved_before_training_it_is_the_base_bit_for_bit_anywhere(architecture, dtype, tmp_path):
    initialised(architecture, dtype).save_pretrained(tmp_path)
    batch, expected = architecture.batch(dtype=dtype), logits(architecture.make(dtype), architecture.batch(dtype=dtype))
    assert torch.equal(logits(PeftModel.from_pretrained(architecture.make(dtype), tmp_path).eval(), batch), expected)
    assert torch.equal(logits(load_adapter(architecture.make(dtype), tmp_path, trainable=True), batch), expected)


def test_transformers_own_adapter_interface(saved, architecture):
    folder, model = saved
    batch, other = architecture.batch(), architecture.make()
    other.load_adapter(str(folder), "theirs")
    torch.testing.assert_close(logits(other.eval(), batch), logits(model, batch), rtol=0, atol=1e-6)
    other.disable_adapters()
    assert torch.equal(logits(other, batch), logits(architecture.make(), batch))
    other.delete_adapter("theirs")
    assert not any(".theirs." in name for name, _ in other.named_parameters())


def test_the_auto_classes_find_it_and_its_base(llama, tmp_path):
    llama.make().save_pretrained(tmp_path / "base")
    model = initialised(llama, onto=AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval())
    disturb(model)
    model.save_pretrained(tmp_path / "adapter")
    expected = logits(model, llama.batch())
    for auto in (AutoPeftModelForCausalLM, AutoModelForCausalLM):
        loaded = auto.from_pretrained(tmp_path / "adapter").eval()
        torch.testing.assert_close(logits(loaded, llama.batch()), expected, rtol=0, atol=1e-6)


def test_a_pickled_file_is_not_read(llama, tmp_path):
    initialised(llama).save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(InputError, match=r"adapter_model\.bin, a pickle"):
        load_adapter(llama.make(), tmp_path)


def test_a_note_that_another_adapter_was_saved_over_is_told_of(saved, architecture):
    other = plain(architecture)
    disturb(other)
    other.save_pretrained(saved[0])
    with pytest.raises(InputError, match="is of another adapter than the one beside it; remove it"):
        load_adapter(architecture.make(), saved[0], trainable=True)
    (saved[0] / "retain_initialisation.json").unlink()
    loaded = load_adapter(architecture.make(), saved[0], trainable=True).eval()
    assert note_of(loaded) is None
    assert same_bits(loaded.state_dict(), other.state_dict())


def test_a_note_of_another_initialisation_of_the_same_rank_is_told_of(saved, architecture):
    folder = saved[0]
    other = initialised(architecture, initialisation="random-start")
    other.save_pretrained(folder.parent / "other")
    note = (folder.parent / "other" / "retain_initialisation.json").read_text()
    (folder / "retain_initialisation.json").write_text(note)
    with pytest.raises(InputError, match="is of another adapter"):
        load_adapter(architecture.make(), folder, trainable=True)
