"""Rows of embeddings: how many a model and an adapter's file have, and new ones that are the mean of the old."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from retain.hf.adapters.folder import stored_shapes
from retain.hf.models.vocabulary import embeddings_of, give_rows, rows_in_file, rows_of
from tiny import make_bert, make_llama, make_vit


def test_rows_of_models():
    assert rows_of(make_llama(vocabulary=61)) == 61
    assert rows_of(make_bert()) == 64
    assert rows_of(make_vit()) is None
    assert [len(one.weight) for one in embeddings_of(make_llama())] == [70, 70]


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"target_modules": ["q_proj"]}, None),
        ({"target_modules": ["embed_tokens"]}, 73),
        ({"target_modules": ["lm_head"]}, 73),
        ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, 73),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, 73),
    ],
)
def test_rows_that_an_adapter_brings(tmp_path, fields, rows):
    model = get_peft_model(make_llama(vocabulary=73), LoraConfig(r=2, **fields))
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    assert rows_in_file(make_llama(), stored_shapes(tmp_path)) == rows
    model.save_pretrained(tmp_path / "all", save_embedding_layers=True)
    assert rows_in_file(make_llama(), stored_shapes(tmp_path / "all")) == 73


def test_new_rows_are_the_mean_and_old_ones_stay():
    model, before = make_llama(), make_llama()
    give_rows(model, 75)
    for new, old in zip(embeddings_of(model), embeddings_of(before), strict=True):
        assert torch.equal(new.weight[:70], old.weight)
        assert torch.allclose(new.weight[70:], old.weight.mean(dim=0).expand(5, -1), atol=1e-6)
    give_rows(model, 60)
    assert rows_of(model) == 60
