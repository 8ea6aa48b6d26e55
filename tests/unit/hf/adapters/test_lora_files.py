"""Low-rank updates of each method that has one, and the ordinary LoRA that carries them."""

import pytest
import torch
from peft import PeftModel
from retain.hf.adapters.lora_files import lora_factors, write_lora

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.updates import weight_updates
from tiny import make_llama

TARGETS = {"target_modules": ["q_proj", "down_proj"]}


def trained(name, **fields):
    model = attach(make_llama(), name, {**TARGETS, **fields}).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize(
    ("name", "fields"), [("lora", {"r": 2, "lora_alpha": 6}), ("lorfa", {"r": 2, "lorfa_alpha": 6})]
)
def test_factors_are_the_update_with_its_scale(name, fields):
    model = trained(name, **fields)
    updates = {update.module.removeprefix("base_model.model."): update.delta for update in weight_updates(model)}
    factors = {key: B @ A for key, B, A in lora_factors(model, "default")}
    assert factors.keys() == updates.keys()
    for key, product in factors.items():
        torch.testing.assert_close(product, updates[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: trained("vefa"), "is a vefa, whose update is not of low rank"),
        (lambda: trained("lora", use_dora=True), "is a Dora, whose update is not of low rank"),
        (lambda: trained("lora", modules_to_save=["lm_head"]), "in full, which a LoRA cannot carry"),
        (lambda: trained("lora", init_lora_weights="pissa"), "its initialisation rewrote"),
    ],
)
def test_other_updates_are_refused(model, said):
    with pytest.raises(InputError, match=said):
        list(lora_factors(model(), "default"))
    with pytest.raises(InputError, match="no adapter 'other'"):
        list(lora_factors(model(), "other"))


def test_what_is_written_loads_in_stock_peft_and_replaces_what_was_there(tmp_path):
    model = trained("lorfa", r=2)
    factors = {key: (B.detach(), A.detach()) for key, B, A in lora_factors(model, "default")}
    for rank in (2, 3):
        folder = write_lora(model, "default", factors, rank, tmp_path / "lora")
    names = {".retain.jsonl", "README.md", "adapter_config.json", "adapter_model.safetensors", "retain_adapter.json"}
    assert {path.name for path in folder.iterdir()} == names
    again = PeftModel.from_pretrained(make_llama(), folder).eval()
    assert again.peft_config["default"].r == 3
    ids = torch.arange(2, 18).view(2, 8)
    torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        write_lora(model, "default", factors, 2, tmp_path / "notes")
