"""The note of an adapter's base and files: another base and changed files are known, whatever the dtype."""

import json

import pytest
import torch

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.origin import ORIGIN_NOTE, base_digests
from retain.hf.adapters.save import save_weights
from tiny import make_llama

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def saved(folder, base=None, **fields):
    model = attach(base or make_llama(), "lora", {"r": 2, "target_modules": ["q_proj"], **fields})
    save_weights(model, folder)
    return folder


def test_it_loads_onto_its_own_base_and_no_other_of_the_shape(tmp_path):
    load_adapter(make_llama(), saved(tmp_path))
    with pytest.raises(InputError, match="another base"):
        load_adapter(make_llama(seed=1), tmp_path)


@pytest.mark.parametrize("trained", DTYPES)
@pytest.mark.parametrize("loaded", DTYPES)
def test_a_base_is_known_again_in_another_dtype(tmp_path, trained, loaded):
    saved(tmp_path, make_llama().to(trained))
    load_adapter(make_llama().to(loaded), tmp_path)
    with pytest.raises(InputError, match="another base"):
        load_adapter(make_llama(seed=1).to(loaded), tmp_path)


def test_one_weight_that_moved_a_little_is_another_base(tmp_path):
    base = make_llama()
    saved(tmp_path)
    base.model.layers[1].mlp.up_proj.weight.data.mul_(1.001)
    with pytest.raises(InputError, match="another base"):
        load_adapter(base, tmp_path)


def test_a_vocabulary_with_more_rows_is_the_same_base(tmp_path):
    saved(tmp_path)
    base = make_llama()
    base.resize_token_embeddings(80)
    load_adapter(base, tmp_path)


def test_modules_trained_in_full_do_not_hide_the_base(tmp_path):
    saved(tmp_path, modules_to_save=["down_proj", "lm_head"])
    load_adapter(make_llama(), tmp_path)
    with pytest.raises(InputError, match="another base"):
        load_adapter(make_llama(seed=1), tmp_path)


def test_a_base_that_was_rewritten_or_has_no_plain_values_is_not_compared(tmp_path):
    saved(tmp_path, init_lora_weights="pissa")
    load_adapter(make_llama(seed=1), tmp_path)
    assert base_digests(make_llama().to("meta")) == ("", {})


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_changed_files_are_found(tmp_path, name):
    path = saved(tmp_path) / name
    if name.endswith("json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 9}))
    else:
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=f"{name} changed since retain wrote"):
        load_adapter(make_llama(), tmp_path)
    (tmp_path / ORIGIN_NOTE).unlink()
    load_adapter(make_llama(), tmp_path)


def test_the_name_of_the_base_may_be_edited(tmp_path):
    path = saved(tmp_path) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "owner/base"}, indent=4))
    load_adapter(make_llama(), tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weights": 3, "config": ""}'])
def test_a_damaged_note_is_named(tmp_path, text):
    (saved(tmp_path) / ORIGIN_NOTE).write_text(text)
    with pytest.raises(InputError, match=ORIGIN_NOTE):
        load_adapter(make_llama(), tmp_path)
