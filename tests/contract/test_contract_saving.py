"""What is saved loads elsewhere: in a fresh process, without memory to spare, through PEFT and through transformers."""

import json
import subprocess
import sys

import pytest
import torch
from contract_models import ARCHITECTURES, METHODS, adapted, disturb, layers_of, logits, make_config
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from children import light

FRESH = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoModelForImageClassification
import retain
from peft import PeftModel
classes = {"bert": AutoModelForSequenceClassification, "vit": AutoModelForImageClassification}
found = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    batch = torch.load(folder / "batch.pt")
    for adapter in (folder / "adapters").iterdir():
        for low in (False, True):
            base = classes.get(folder.name, AutoModelForCausalLM).from_pretrained(folder / "base")
            model = PeftModel.from_pretrained(base, adapter, low_cpu_mem_usage=low).eval()
            with torch.no_grad():
                found[f"{folder.name} {adapter.name} {low}"] = model(**batch).logits
torch.save(found, Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def fresh_process(tmp_path_factory):
    """Logits of every method and architecture, before saving and, from one fresh process, after loading."""
    folder, expected = tmp_path_factory.mktemp("saved"), {}
    for name, architecture in ARCHITECTURES.items():
        architecture.make().save_pretrained(folder / name / "base")
        torch.save(architecture.batch(), folder / name / "batch.pt")
        for method in METHODS:
            model = adapted(method, architecture)
            disturb(model)
            expected[f"{name} {method.name}"] = logits(model, architecture.batch())
            model.save_pretrained(folder / name / "adapters" / method.name)
    found = tmp_path_factory.mktemp("loaded") / "logits.pt"
    subprocess.run([sys.executable, "-c", FRESH, str(folder), str(found)], check=True, timeout=240, env=light())
    return expected, torch.load(found)


@pytest.mark.parametrize("low", [False, True])
def test_a_fresh_process_loads_what_was_saved(method, architecture, fresh_process, low):
    expected, found = fresh_process
    key = f"{architecture.name} {method.name}"
    assert torch.equal(found[f"{key} {low}"], expected[key])


def test_the_files_hold_the_adapter_in_float32_and_nothing_else(method, llama, tmp_path):
    model = adapted(method, llama, torch.bfloat16)
    disturb(model)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert len(weights) == len(layers_of(model)) * len(method.layer.adapter_layer_names)
    assert {value.dtype for value in weights.values()} == {torch.float32}
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    assert {f"{layer}.{part}.weight" for part in method.layer.adapter_layer_names} <= weights.keys()
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == method.name.upper()
    assert isinstance(config["target_modules"], list)
    assert type(PeftConfig.from_pretrained(tmp_path)) is method.config


@pytest.mark.parametrize("low", [False, True])
def test_a_16_bit_base_gets_its_adapter_back_exactly(method, llama, tmp_path, low):
    model = adapted(method, llama, torch.bfloat16)
    disturb(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(llama.make(torch.bfloat16), tmp_path, low_cpu_mem_usage=low)
    assert torch.equal(logits(loaded, llama.batch()), logits(model, llama.batch()))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_saving_while_merged_saves_the_same_adapter(method, llama, tmp_path):
    model = adapted(method, llama)
    disturb(model)
    model.save_pretrained(tmp_path / "apart")
    model.merge_adapter()
    model.save_pretrained(tmp_path / "merged")
    apart, merged = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("apart", "merged"))
    assert apart.keys() == merged.keys()
    assert all(torch.equal(apart[key], merged[key]) for key in apart)


def test_a_second_adapter_loads_and_trains_on(method, llama, tmp_path):
    model = adapted(method, llama)
    disturb(model)
    model.save_pretrained(tmp_path)
    other = adapted(method, llama)
    other.load_adapter(tmp_path, "loaded", is_trainable=True)
    other.set_adapter("loaded")
    assert torch.equal(logits(other, llama.batch()), logits(model, llama.batch()))
    other(**llama.batch()).loss.backward()
    assert all(p.grad is not None for n, p in other.named_parameters() if ".loaded." in n)


def test_auto_peft_model(method, llama, tmp_path):
    llama.make().save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    from peft import get_peft_model

    model = get_peft_model(base, make_config(method, task_type="CAUSAL_LM")).eval()
    disturb(model)
    model.save_pretrained(tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(loaded, llama.batch()), logits(model, llama.batch()))


def test_transformers_own_adapter_interface(method, llama, dtype, tmp_path):
    model, batch = llama.make(dtype), llama.batch()
    base = logits(model, batch)
    model.add_adapter(make_config(method), "mine")
    assert torch.equal(logits(model, batch), base)
    disturb(model, "mine")
    trained = logits(model, batch)
    assert not torch.equal(trained, base)
    model.disable_adapters()
    assert torch.equal(logits(model, batch), base)
    model.enable_adapters()
    model.save_pretrained(tmp_path)
    other = llama.make(dtype)
    other.load_adapter(str(tmp_path), "theirs")
    assert torch.equal(logits(other.eval(), batch), trained)
    assert {p.dtype for n, p in other.named_parameters() if ".theirs." in n} == {torch.float32}
    other.delete_adapter("theirs")
    assert not any(".theirs." in name for name, _ in other.named_parameters())
    model.add_adapter(make_config(method), "second")
    model.set_adapter("second")
    assert torch.equal(logits(model, batch), base)


def test_from_pretrained_on_an_adapters_folder(method, llama, tmp_path):
    llama.make().save_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model.add_adapter(make_config(method))
    disturb(model)
    model.save_pretrained(tmp_path / "adapter")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(logits(loaded, llama.batch()), logits(model.eval(), llama.batch()))


def test_pefts_conversion_to_lora_is_exact_where_the_method_says_so(method, llama):
    from peft import convert_to_lora

    model = adapted(method, llama)
    disturb(model)
    if not model.supports_lora_conversion():
        pytest.skip("its update has full rank")
    config, weights = convert_to_lora(model, rank=8)
    from peft import get_peft_model, set_peft_model_state_dict

    lora = get_peft_model(llama.make(), config).eval()
    set_peft_model_state_dict(lora, weights)
    torch.testing.assert_close(logits(lora, llama.batch()), logits(model, llama.batch()), rtol=0, atol=5e-6)
