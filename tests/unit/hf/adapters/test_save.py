"""Cards of adapters and whole models: valid front matter, the base's hub id where there is one, never a local path."""

import json

import pytest
import torch
import yaml
from huggingface_hub.utils import validate_repo_id
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from retain import LoRFAConfig, SCLoRAConfig, VeFAConfig, export, sc_lora
from retain.hf.adapters.attach import attach
from retain.hf.adapters.card import hub_id
from retain.hf.adapters.save import save_weights
from retain.hf.scaling import merged_at, write_at
from tiny import make_bert, make_llama

HUB = "somebody/tiny-llama"


def parts(folder):
    """The card's front matter as values, and its text."""
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def llama(name):
    model = make_llama()
    model.config._name_or_path = str(name)
    return model


def adapters(base):
    """One adapter of each way of saving."""
    return {
        "vefa": lambda: attach(base(), "vefa", {}),
        "lorfa": lambda: attach(base(), "lorfa", {"r": 2}),
        "lora": lambda: attach(base(), "lora", {"r": 2}),
        "initialised": lambda: sc_lora(base(), SCLoRAConfig(r=2, initialisation="milora")),
    }


def ways(model, folder):
    """Every way in which retain writes weights, by the name of its folder."""
    save_weights(model, folder / "adapter")
    write_at(model, 0.5, folder / "scaled")
    merged_at(model, 0.5, folder / "whole")
    written = ["adapter", "scaled", "whole"]
    if "VEFA" not in str(model.peft_config["default"].peft_type):
        export(model, folder / "exported", to="lora")
        written.append("exported")
    return [folder / name for name in written]


@pytest.mark.parametrize("kind", ["vefa", "lorfa", "lora", "initialised"])
def test_a_base_from_a_folder_is_nowhere_named(kind, tmp_path):
    base = tmp_path / "somebodys-secret" / "base"
    llama("").save_pretrained(base)
    model = adapters(lambda: AutoModelForCausalLM.from_pretrained(base))[kind]()
    for folder in ways(model, tmp_path / "out"):
        front, text = parts(folder)
        assert "base_model" not in front
        assert "secret" not in (folder / "README.md").read_text(encoding="utf-8"), folder.name
        assert str(tmp_path) not in text


@pytest.mark.parametrize("kind", ["vefa", "lorfa", "lora", "initialised"])
def test_a_base_from_the_hub_is_named_by_its_id(kind, tmp_path):
    model = adapters(lambda: llama(HUB))[kind]()
    for folder in ways(model, tmp_path):
        front, text = parts(folder)
        assert front["base_model"] == HUB
        assert validate_repo_id(front["base_model"]) is None
        whole = folder.name == "whole"
        assert front["library_name"] == ("transformers" if whole else "peft")
        assert front["pipeline_tag"] == "text-generation"
        assert "retain" in front["tags"]
        assert f"`{HUB}`" in text
        if not whole:
            assert f'AutoModelForCausalLM.from_pretrained("{HUB}")' in text


def test_a_path_that_looks_like_a_hub_id_but_is_here_is_not_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    llama("").save_pretrained("models/base")
    model = attach(AutoModelForCausalLM.from_pretrained("models/base"), "vefa", {})
    save_weights(model, "out")
    front, text = parts(tmp_path / "out")
    assert "base_model" not in front
    assert "models/base" not in text
    assert "adapter_config.json" in text  # it still names the folder, for PEFT, which the card says
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "models/base"


def test_a_whole_model_that_was_trained_has_a_card(tmp_path):
    save_weights(llama(HUB), tmp_path / "hub")
    save_weights(llama(tmp_path / "base"), tmp_path / "local")
    front, text = parts(tmp_path / "hub")
    assert (front["library_name"], front["base_model"]) == ("transformers", HUB)
    assert 'AutoModelForCausalLM.from_pretrained("THIS_FOLDER_OR_REPOSITORY")' in text
    front, text = parts(tmp_path / "local")
    assert "base_model" not in front
    assert str(tmp_path) not in text


def test_a_card_is_written_for_an_adapter_that_is_not_named_default(tmp_path):
    model = attach(llama(HUB), "lora", {"r": 2}, adapter="other")
    write_at(model, 1.0, tmp_path / "out", adapter_name="other")
    assert parts(tmp_path / "out")[0]["base_model"] == HUB
    assert (tmp_path / "out" / "adapter_config.json").is_file()


def test_what_the_card_says_is_how_it_loads(tmp_path):
    model = attach(llama(HUB), "vefa", {})
    save_weights(model, tmp_path / "out")
    _, text = parts(tmp_path / "out")
    code = text.split("```python\n")[1].split("```")[0].replace("THIS_FOLDER_OR_REPOSITORY", str(tmp_path / "out"))
    code = code.replace(f'AutoModelForCausalLM.from_pretrained("{HUB}")', "base_here")
    values = {"base_here": make_llama()}
    exec(compile(code, "card", "exec"), values)  # noqa: S102 -- the card's own code, written a line above
    assert isinstance(values["model"], PeftModel)


def test_an_adapter_of_ours_says_that_retain_is_needed_and_others_do_not(tmp_path):
    for config, needed in ((VeFAConfig, True), (LoRFAConfig, True), (None, False)):
        folder = tmp_path / str(config)
        name = "lora" if config is None else config.method
        save_weights(attach(llama(HUB), name, {"target_modules": ["q_proj"]}), folder)
        assert ("import retain" in parts(folder)[1]) == needed


def test_a_classifier_and_a_body_are_loaded_by_their_own_classes(tmp_path):
    from transformers import BertForSequenceClassification

    classifier = BertForSequenceClassification(make_bert().config)
    save_weights(attach(classifier, "lora", {"r": 2}), tmp_path / "classifier")
    save_weights(make_bert(), tmp_path / "body")
    assert "AutoModelForSequenceClassification" in parts(tmp_path / "classifier")[1]
    assert "import AutoModel\n" in parts(tmp_path / "body")[1]


@pytest.mark.parametrize("name", ["gpt2", "somebody/tiny", "Qwen/Qwen3-0.6B", "a_b/c.d-e"])
def test_a_hub_id(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_id(name) == name
    (tmp_path / name).mkdir(parents=True)
    assert hub_id(name) is None


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "/data/base",
        "./base",
        "../base",
        "~/base",
        "a/b/c",
        "C:\\models\\base",
        "base model",
        "a/b.git",
        "a--b",
    ],
)
def test_no_hub_id(name):
    assert hub_id(name) is None


def tied_llama(place="here"):
    model = llama(place)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    return model


@pytest.mark.parametrize("fields", [{"modules_to_save": ["lm_head"]}, {"modules_to_save": ["embed_tokens"]}])
@pytest.mark.parametrize("way", ["merged_at", "merge_and_unload"])
def test_a_merged_model_says_that_its_head_is_no_longer_tied(tmp_path, fields, way):
    model = attach(tied_llama(), "lora", {"r": 2, "target_modules": ["q_proj"], **fields}).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.05)
    ids = torch.arange(2, 9)[None]
    expected = model(ids).logits
    if way == "merged_at":
        merged_at(model, 1.0, tmp_path / "out")
        assert model.config.tie_word_embeddings
    else:
        save_weights(model.merge_and_unload(), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is False
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(load_file(tmp_path / "out" / "model.safetensors"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert torch.allclose(again(ids).logits, expected, atol=1e-5)


def test_a_model_whose_head_stayed_tied_still_says_so(tmp_path):
    model = attach(tied_llama(), "lora", {"r": 2, "target_modules": ["q_proj"]})
    merged_at(model, 0.5, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"] is True
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


def test_two_processes_write_the_same_bytes_whatever_order_sets_have_in_them(tmp_path):
    """PEFT writes a set as it comes, which hash randomisation makes another order in each process."""
    layers = ["up_proj", "q_proj", "down_proj", "gate_proj", "k_proj", "v_proj", "o_proj"]
    model = attach(llama("base"), "lora", {"r": 2, "target_modules": layers})
    for folder in ways(model, tmp_path):
        if (folder / "adapter_config.json").is_file():
            found = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["target_modules"]
            assert found == sorted(found), folder.name
