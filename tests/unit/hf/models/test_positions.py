"""Positions of tiny models, against what each can really read: one token more fails."""

from __future__ import annotations

import peft
import pytest
import torch
import transformers as t

from retain.hf.models.positions import Positions, positions_of, virtual_tokens

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
OF_GPT = {"vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}
OF_OPT = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 16,
    "word_embed_proj_dim": 16,
}  # fmt: skip
ENDING = {
    "BERT": (t.BertModel, t.BertConfig(**SIZES, max_position_embeddings=20), 20),
    "RoBERTa": (t.RobertaModel, t.RobertaConfig(**SIZES, max_position_embeddings=20, pad_token_id=1), 18),
    "RoBERTa, pad 3": (t.RobertaModel, t.RobertaConfig(**SIZES, max_position_embeddings=20, pad_token_id=3), 16),
    "XLM-R": (t.XLMRobertaModel, t.XLMRobertaConfig(**SIZES, max_position_embeddings=20, pad_token_id=1), 18),
    "CamemBERT": (t.CamembertModel, t.CamembertConfig(**SIZES, max_position_embeddings=20, pad_token_id=1), 18),
    "MPNet": (t.MPNetModel, t.MPNetConfig(**SIZES, max_position_embeddings=20, pad_token_id=1), 18),
    "OPT": (t.OPTForCausalLM, t.OPTConfig(**OF_OPT, max_position_embeddings=20), 20),
    "GPT-2": (t.GPT2LMHeadModel, t.GPT2Config(**OF_GPT, n_positions=20), 20),
    "GPT-J": (t.GPTJForCausalLM, t.GPTJConfig(**OF_GPT, n_positions=20, rotary_dim=4), 20),
    "CLIP's text": (t.CLIPTextModel, t.CLIPTextConfig(**SIZES, max_position_embeddings=20), 20),
}


def reads(model, length):
    ids = torch.full((1, length), 5)
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (IndexError, RuntimeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", ENDING)
def test_a_table_of_positions_ends_where_the_model_does(name):
    kind, config, limit = ENDING[name]
    model = kind(config).eval()
    assert positions_of(model) == Positions(limit)
    assert (reads(model, limit), reads(model, limit + 1)) == (True, False)
    with torch.device("meta"):
        assert positions_of(kind(config)) == Positions(limit), "also without weights"


def test_rotary_positions_have_no_end_but_a_length_in_training():
    config = t.LlamaConfig(**SIZES, max_position_embeddings=20)
    model = t.LlamaForCausalLM(config).eval()
    assert positions_of(model) == Positions(None, trained=20)
    assert reads(model, 40)


def test_an_adapters_virtual_tokens_take_positions():
    base = t.GPT2LMHeadModel(t.GPT2Config(**OF_GPT, n_positions=20)).eval()
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6)
    adapted = peft.get_peft_model(base, config).eval()
    assert positions_of(adapted) == Positions(14)
    assert (reads(adapted, 14), reads(adapted, 15)) == (True, False)
    assert (virtual_tokens({}), virtual_tokens({"num_virtual_tokens": 6})) == (0, 6)


def test_positions_that_are_adapted_are_counted_as_before():
    base = t.GPT2LMHeadModel(t.GPT2Config(**OF_GPT, n_positions=20)).eval()
    assert positions_of(peft.get_peft_model(base, peft.LoraConfig(target_modules=["wpe", "c_attn"]))) == Positions(20)


def test_an_image_towers_positions_are_none_of_text():
    text = {**SIZES, "max_position_embeddings": 20}
    config = t.CLIPConfig(text_config=text, vision_config={**SIZES, "image_size": 8, "patch_size": 4})
    with torch.device("meta"):
        assert positions_of(t.CLIPModel(config)) == Positions(20)


def test_two_models_share_the_fewer_positions():
    assert Positions(20).shared_with(Positions(None, 30)) == Positions(20, 30)
    assert Positions(20).shared_with(Positions(12)) == Positions(12)
    assert (Positions(20).without(6), Positions(None, 30).without(6)) == (Positions(14), Positions(None, 30))
