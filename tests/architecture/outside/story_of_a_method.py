"""A method's life, from its name on the command line to merged weights. Run by `test_add_a_method.py`, with the row."""

import json

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel, PeftType, get_peft_model
from safetensors.torch import load_file

from retain import load_adapter
from retain.cli.main import main
from retain.hf.adapters.attach import attach, known_methods
from retain.hf.scaling import scaled, write_at
from retain.methods import lookup
from retain.records.result import read_result
from tiny import make_llama

IDS = torch.arange(3, 20)[None]


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits


def trained(folder):
    model = attach(make_llama(), "unifa", {"target_modules": ["q_proj", "down_proj"]})
    assert torch.equal(logits(model), logits(make_llama()))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(4):
        loss = model.train()(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    model.save_pretrained(folder)
    return model


def test_peft_knows_it():
    from unifa.config import UniFAConfig

    assert "unifa" in known_methods()
    assert PeftType("UNIFA").value == "UNIFA"
    assert type(get_peft_model(make_llama(), UniFAConfig(target_modules=["q_proj"]))) is not None
    assert lookup.validate("unifa", {"target_modules": "all-linear"}) == []
    assert "its fields are" in lookup.validate("unifa", {"rank": 3})[0]


def test_it_is_trained_saved_loaded_scaled_and_merged(tmp_path):
    model = trained(tmp_path / "adapter")
    expected = logits(model)
    assert PeftConfig.from_pretrained(tmp_path / "adapter").peft_type == "UNIFA"
    for again in (
        PeftModel.from_pretrained(make_llama(), tmp_path / "adapter"),
        load_adapter(make_llama(), tmp_path / "adapter"),
    ):
        assert torch.equal(logits(again), expected)
    with scaled(model, 0):
        assert torch.equal(logits(model), logits(make_llama()))
    write_at(model, 0.5, tmp_path / "half")
    half = load_file(tmp_path / "half" / "adapter_model.safetensors")
    full = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(torch.allclose(half[key], value / 2) for key, value in full.items())
    assert half.keys() == full.keys() != set()
    torch.testing.assert_close(logits(model.merge_and_unload()), expected, rtol=0, atol=1e-5)


def test_the_help_names_it(capsys):
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "vefa, lorfa, rotation, unifa, sc-lora" in text
    assert "7e-3 unifa" in text


def test_tune_takes_it_with_its_own_learning_rate(tiny_folder, tiny_data, tmp_path):
    data = {name: str(tiny_data / f"{name}.jsonl") for name in ("train", "test", "letters")}
    command = ["tune", "--model", str(tiny_folder), "--method", "unifa", "--output", str(tmp_path / "run")]
    command += ["--train", data["train"], "--test", data["test"], "--keep", data["letters"]]
    assert main([*command, "--max-steps", "3", "--generate", "0"]) == 0
    result = read_result(tmp_path / "run" / "result.json")
    assert (result.method.name, result.learning_rate) == ("unifa", 7e-3)
    assert result.drift is not None
    adapter = tmp_path / "run" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["peft_type"] == "UNIFA"
    assert not torch.equal(logits(AutoPeftModelForCausalLM.from_pretrained(adapter)), logits(make_llama()))
