"""An adapter as a LoRA of any rank: exact where the rank is enough, the best there is where it is not."""

import json

import pytest
import torch
from peft import (
    HRAConfig,
    IA3Config,
    LNTuningConfig,
    LoraConfig,
    OFTConfig,
    PeftModel,
    PromptTuningConfig,
    get_peft_model,
)
from transformers import GPT2Config, GPT2LMHeadModel

from retain import InputError, LoRFAConfig, SCLoRAConfig, VeFAConfig, export, sc_lora
from retain.hf.models.updates import weight_updates
from tiny import make_llama

IDS = torch.arange(3, 27).reshape(3, 8)


def gpt2():
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 70, "n_positions": 32}
    return GPT2LMHeadModel(GPT2Config(**sizes)).eval()


def initialised(base):
    data = [{"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}]
    other = [{"input_ids": IDS.flip(0) + 20, "attention_mask": torch.ones_like(IDS)}]
    return sc_lora(base, SCLoRAConfig(r=3, lora_alpha=6), learn=data, keep=other)


MAKERS = {
    "sc-lora": initialised,
    "lora": lambda base: get_peft_model(base, LoraConfig(r=3, lora_alpha=6, target_modules="all-linear")),
    "lorfa": lambda base: get_peft_model(base, LoRFAConfig(r=3, lorfa_alpha=6, target_modules="all-linear")),
}


def trained(make, base):
    model = make(base).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.filterwarnings("ignore::retain.CalibrationWarning")
@pytest.mark.parametrize("base", [make_llama, gpt2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("name", MAKERS)
def test_the_whole_rank_loses_nothing(name, base, tmp_path):
    model = trained(MAKERS[name], base())
    found = export(model, tmp_path / "lora", to="lora")
    loaded = PeftModel.from_pretrained(base(), found.folder).eval()
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=2e-5)
    config = json.loads((found.folder / "adapter_config.json").read_text())
    assert found.error == 0.0
    assert config["r"] == config["lora_alpha"] == found.rank == (6 if name == "sc-lora" else 3)
    assert not config["rank_pattern"]
    assert not config["alpha_pattern"]


@pytest.mark.filterwarnings("ignore::retain.CalibrationWarning")
@pytest.mark.parametrize("name", MAKERS)
def test_a_smaller_rank_is_the_best_there_is_and_tells_its_error(name, tmp_path):
    model = trained(MAKERS[name], make_llama()).double()
    found = export(model, tmp_path / "lora", rank=2, to="lora")
    loaded = PeftModel.from_pretrained(make_llama().double(), found.folder)
    lost = whole = 0.0
    for key, layer in model.base_model.model.named_modules():
        if key in found.layers:
            update = layer.get_delta_weight("default")
            kept = loaded.base_model.model.get_submodule(key).get_delta_weight("default").double()
            best = torch.linalg.svdvals(update)
            assert float((update - kept).norm()) == pytest.approx(float(best[2:].norm()), rel=1e-4)
            assert found.layers[key] == pytest.approx(float(best[2:].norm() / best.norm()), rel=1e-4)
            lost, whole = lost + float(best[2:].square().sum()), whole + float(best.square().sum())
    assert found.error == pytest.approx((lost / whole) ** 0.5, rel=1e-4)
    assert 0 < found.error < 1


def test_a_larger_rank_is_filled_up(tmp_path):
    model = trained(MAKERS["lora"], make_llama())
    found = export(model, tmp_path / "lora", rank=16, to="lora")
    loaded = PeftModel.from_pretrained(make_llama(), found.folder).eval()
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=1e-5)
    assert loaded.peft_config["default"].r == 16


def test_an_adapter_that_was_there_is_replaced_whole_and_anything_else_is_left_alone(tmp_path):
    model = trained(MAKERS["lora"], make_llama())
    export(model, tmp_path / "lora", to="lora")
    export(model, tmp_path / "lora", rank=1, to="lora")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "work").write_text("mine")
    with pytest.raises(InputError, match="holds something else than retain wrote there"):
        export(model, tmp_path / "other", to="lora")
    assert (tmp_path / "other" / "work").read_text() == "mine"
    names = {".retain.jsonl", "README.md", "adapter_config.json", "adapter_model.safetensors", "retain_adapter.json"}
    names |= {"retain_export.json", "generation_config.json"}
    assert {path.name for path in tmp_path.rglob("*.*")} == names


OTHERS = {
    "vefa": VeFAConfig(target_modules="all-linear"),
    "dora": LoraConfig(r=3, target_modules="all-linear", use_dora=True),
    "ia3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "oft": OFTConfig(oft_block_size=8, target_modules=["q_proj", "v_proj"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_of_any_other_method_the_best_lora_is_made(name, tmp_path):
    model = trained(lambda base: get_peft_model(base, OTHERS[name]), make_llama())
    found = export(model, tmp_path / "lora", to="lora", rank=2)
    loaded = PeftModel.from_pretrained(make_llama(), found.folder)
    updates = {one.module: one.delta.double() for one in weight_updates(model.get_base_model())}
    assert found.layers.keys() == updates.keys()
    for key, update in updates.items():
        kept = loaded.base_model.model.get_submodule(key).get_delta_weight("default").double()
        best = torch.linalg.svdvals(update)[2:].norm()
        assert float((update - kept).norm()) == pytest.approx(float(best), rel=1e-3)
        assert found.layers[key] == pytest.approx(float(best / update.norm()), rel=1e-3)
    with pytest.raises(InputError, match=r"its update has rank \d+, and a LoRA of that rank is larger than the layer"):
        export(model, tmp_path / "whole", to="lora")


def test_what_has_a_low_rank_is_exact_though_its_method_gives_no_factors(tmp_path):
    model = trained(
        lambda base: get_peft_model(base, HRAConfig(r=2, target_modules=["q_proj", "up_proj"])), make_llama()
    )
    found = export(model, tmp_path / "lora", to="lora")
    assert (found.rank, found.error) == (2, 0.0)
    torch.testing.assert_close(
        logits(PeftModel.from_pretrained(make_llama(), found.folder).eval()), logits(model), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]), "in full, which a LoRA cannot carry"),
        (LoraConfig(target_modules=["q_proj"], init_lora_weights="pissa"), "took the initial adapter out of the base"),
        (LoraConfig(target_modules=["q_proj"], lora_bias=True), "trains biases"),
        (LoraConfig(target_modules=["q_proj"], bias="lora_only"), "trains biases"),
        (LoraConfig(target_modules=["q_proj", "embed_tokens"]), r"embed_tokens \(Embedding\), which a LoRA cannot"),
        (LNTuningConfig(target_modules=["input_layernorm"]), r"input_layernorm \(LlamaRMSNorm\), which a LoRA cannot"),
        (LoraConfig(target_modules=["q_proj"], trainable_token_indices=[3]), "trains single tokens"),
        (PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"), "no update of weights"),
    ],
)
def test_what_a_lora_cannot_carry_is_refused(config, reason, tmp_path):
    with pytest.raises(InputError, match=reason):
        export(trained(lambda base: get_peft_model(base, config), make_llama()), tmp_path / "lora", to="lora")
    assert not (tmp_path / "lora").exists()


def test_an_adapter_that_rewrote_its_base_is_exported_beside_the_untouched_one(tmp_path):
    config = LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights="pissa")
    model = trained(lambda base: get_peft_model(base, config), make_llama())
    found = export(model, tmp_path / "lora", to="lora", base=make_llama())
    assert found.rank == 6  # two of rank 3: what was taken out, and what was put in
    loaded = PeftModel.from_pretrained(make_llama(), found.folder).eval()
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=2e-5)


def test_a_rank_or_a_name_that_is_none_is_refused(tmp_path):
    model = MAKERS["lora"](make_llama())
    with pytest.raises(InputError, match="rank: give a whole number"):
        export(model, tmp_path, rank=0, to="lora")
    with pytest.raises(InputError, match="no adapter 'other'; there are default"):
        export(model, tmp_path, adapter_name="other", to="lora")
    with pytest.raises(InputError, match="no adapter"):
        export(make_llama(), tmp_path, to="lora")
