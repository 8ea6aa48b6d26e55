"""Loading an adapter: what is wrong with the files is said in one sentence."""

import json

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.folder import adapter_folder, is_adapter
from retain.hf.adapters.load import load_adapter

IDS = torch.arange(2, 10).view(1, 8)
SIZES = {"intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 32}


def llama(hidden=32):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, hidden_size=hidden)).eval()


@pytest.fixture
def saved(tmp_path):
    model = attach(llama(), "lorfa", {"r": 4})
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.in_features == 4:
            module.weight.data.normal_(std=0.1)
    model.save_pretrained(tmp_path)
    return tmp_path, model.eval()(IDS).logits


def test_it_loads_frozen_or_to_be_trained_on(saved):
    path, expected = saved
    frozen, trainable = load_adapter(llama(), path), load_adapter(llama(), path, trainable=True)
    assert torch.equal(frozen(IDS).logits, expected)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert any(p.requires_grad for p in trainable.parameters())


def test_a_folder_is_an_adapter_or_is_not(saved, tmp_path):
    llama().save_pretrained(tmp_path / "whole")
    assert is_adapter(saved[0])
    assert is_adapter(str(saved[0]))
    assert not is_adapter(tmp_path / "whole")


@pytest.mark.parametrize("name", ["nowhere", "runs/frist", "./nowhere", "a/b/c"])
def test_what_can_be_no_adapter_on_the_hub_is_not_looked_for_there(name, tmp_path, monkeypatch):
    def asked(*_, **__):
        pytest.fail("the hub was asked")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.setattr("retain.hf.adapters.folder.snapshot_download", asked)
    monkeypatch.setattr("retain.hf.adapters.folder.PeftConfig._get_peft_type", asked)
    assert not is_adapter(name)
    with pytest.raises(InputError, match="there is no such folder; give the folder of an adapter"):
        adapter_folder(name)


def test_an_adapter_may_lie_on_the_hub_under_its_owners_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "retain.hf.adapters.folder.PeftConfig._get_peft_type", lambda name: {"owner/name": "LORA"}[name]
    )
    assert is_adapter("owner/name")
    assert not is_adapter("owner/another")


def test_a_folder_without_an_adapter(tmp_path):
    with pytest.raises(InputError, match="no adapter here"):
        load_adapter(llama(), tmp_path)


def test_an_adapter_without_weights(saved):
    (saved[0] / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"cannot be loaded: adapter_model\.safetensors is missing"):
        load_adapter(llama(), saved[0])


def test_damaged_weights(saved):
    (saved[0] / "adapter_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="its file of weights is damaged"):
        load_adapter(llama(), saved[0])


def test_another_models_adapter(saved):
    with pytest.raises(InputError, match=r"cannot be loaded onto this model.*size mismatch.* …$") as caught:
        load_adapter(llama(hidden=64), saved[0])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="not found"):
        load_adapter(nn.Sequential(nn.Linear(4, 4)), saved[0])


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "is no JSON"), ("[]", "expected a JSON object"), ("{}", "not the configuration")]
)
def test_a_damaged_configuration(saved, text, reason):
    (saved[0] / "adapter_config.json").write_text(text)
    with pytest.raises(InputError, match=reason):
        load_adapter(llama(), saved[0])


def test_a_method_that_peft_does_not_know(saved):
    config = json.loads((saved[0] / "adapter_config.json").read_text())
    (saved[0] / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "FOO"}))
    with pytest.raises(InputError, match="method 'foo' is unknown"):
        load_adapter(llama(), saved[0])
