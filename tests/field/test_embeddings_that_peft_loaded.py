"""Adapters that bring embeddings, loaded by PEFT itself: the base with the adapter off is no longer the base."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

import retain
from retain.errors import InputError
from retain.hf.models.replaced import replaced_embeddings
from tiny import make_tokenizer

TEST = [{"prompt": f"word{n} then", "completion": f" word{n + 1}"} for n in range(4)]
LORA = {"r": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}


def base(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


@torch.no_grad()
def saved(folder, place, *, rows=0, trained=True, **fields):
    """An adapter whose embeddings were trained, or not."""
    model = base(folder)
    if rows:
        model.resize_token_embeddings(rows)
    adapted = get_peft_model(model, LoraConfig(**LORA, **fields))
    if trained:
        adapted.get_input_embeddings().weight.data += 0.01
    adapted.save_pretrained(place, save_embedding_layers=True)
    return place


def loaded(folder, place, *, rows=0):
    """As people load it."""
    model = base(folder)
    if rows:
        model.resize_token_embeddings(rows)
    return PeftModel.from_pretrained(model, place)


def measure(*models):
    return retain.measure(*models, tokenizer=make_tokenizer(), test=TEST, drift=False, aa_items=0, show_progress=False)


def test_measuring_such_a_model_alone_is_refused_and_beside_its_base_it_is_not(tiny_folder, tmp_path):
    model = loaded(tiny_folder, saved(tiny_folder, tmp_path / "adapter"))
    with pytest.raises(
        InputError, match=r"embed_tokens\.weight is not what the files of .* hold.*Load the untouched base"
    ):
        measure(model)
    assert measure(base(tiny_folder), model).task


@pytest.mark.parametrize("rows", [70, 77], ids=["as many", "more tokens"])
def test_a_vocabulary_that_was_resized(tiny_folder, tmp_path, rows):
    model = loaded(tiny_folder, saved(tiny_folder, tmp_path / "adapter", rows=rows), rows=rows)
    assert "embed_tokens" in replaced_embeddings(model)


def test_what_brings_no_embeddings_is_measured_alone(tiny_folder, tmp_path):
    plain = get_peft_model(base(tiny_folder), LoraConfig(**LORA))
    assert replaced_embeddings(plain) is None
    assert measure(plain).task
    assert replaced_embeddings(base(tiny_folder).bfloat16()) is None, "rounded, they are the same"
    same = loaded(tiny_folder, saved(tiny_folder, tmp_path / "same", trained=False))
    assert replaced_embeddings(same) is None


@pytest.mark.parametrize(
    "fields", [{"modules_to_save": ["embed_tokens"]}, {"trainable_token_indices": [1, 2]}], ids=["copied", "tokens"]
)
def test_trained_copies_stand_beside_the_base_and_are_switched_off(tiny_folder, tmp_path, fields):
    adapted = get_peft_model(base(tiny_folder), LoraConfig(**LORA, **fields))
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and ("modules_to_save" in name or "trainable_tokens" in name):
            parameter.data += 0.1
    adapted.save_pretrained(tmp_path / "adapter")
    model = loaded(tiny_folder, tmp_path / "adapter")
    assert replaced_embeddings(model) is None
    assert measure(model).task


def test_a_base_of_other_weights_altogether_is_the_users_own(tiny_folder):
    model = base(tiny_folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    assert replaced_embeddings(get_peft_model(model, LoraConfig(**LORA))) is None
