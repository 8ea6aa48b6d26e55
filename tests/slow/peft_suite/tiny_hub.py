"""Tiny models in folders named as the hub names those that PEFT's tests fetch."""

from __future__ import annotations

from pathlib import Path

import torch

from tiny import make_tokenizer

LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 48}
IDS = {"vocab_size": 128, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
OLDER = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 128}


def write_all(folder: Path) -> None:
    """Write every model and a tokenizer beside it."""
    torch.manual_seed(0)
    for name, model in _models().items():
        model.save_pretrained(folder / name)
        make_tokenizer().save_pretrained(folder / name)


def _models():
    import transformers as t

    decoder = {**IDS, **LAYERS, "max_position_embeddings": 128}
    grouped = {**decoder, "num_key_value_heads": 2}
    opt = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 48}
    bert = {**decoder, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    roberta = {**bert, "pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "type_vocab_size": 1}
    bart = {"vocab_size": 128, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
    bart |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    t5 = {"vocab_size": 128, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    inner = "peft-internal-testing/"
    return {
        f"{inner}tiny-random-OPTForCausalLM": t.OPTForCausalLM(
            t.OPTConfig(**opt, word_embed_proj_dim=32, max_position_embeddings=128)
        ),
        f"{inner}tiny-random-GPT2LMHeadModel": t.GPT2LMHeadModel(t.GPT2Config(**IDS, **OLDER)),
        f"{inner}tiny-random-GPTJForCausalLM": t.GPTJForCausalLM(t.GPTJConfig(**IDS, **OLDER, rotary_dim=4)),
        "trl-internal-testing/tiny-random-LlamaForCausalLM": t.LlamaForCausalLM(t.LlamaConfig(**grouped)),
        f"{inner}tiny-dummy-qwen2": t.Qwen2ForCausalLM(t.Qwen2Config(**grouped)),
        "hf-internal-testing/tiny-random-Gemma3ForCausalLM": t.Gemma3ForCausalLM(
            t.Gemma3TextConfig(**grouped, head_dim=8, sliding_window=64)
        ),
        f"{inner}tiny-random-BertModel": t.BertModel(t.BertConfig(**bert)),
        f"{inner}tiny-random-RobertaModel": t.RobertaModel(t.RobertaConfig(**roberta)),
        f"{inner}tiny-random-DebertaModel": t.DebertaModel(t.DebertaConfig(**bert)),
        f"{inner}tiny-random-DebertaV2Model": t.DebertaV2Model(t.DebertaV2Config(**bert)),
        f"{inner}tiny-random-BertForSequenceClassification": t.BertForSequenceClassification(t.BertConfig(**bert)),
        f"{inner}tiny-random-RobertaForSequenceClassification": t.RobertaForSequenceClassification(
            t.RobertaConfig(**roberta)
        ),
        "trl-internal-testing/tiny-LlamaForSequenceClassification-3.2": t.LlamaForSequenceClassification(
            t.LlamaConfig(**grouped)
        ),
        f"{inner}tiny-random-T5ForConditionalGeneration-calibrated": t.T5ForConditionalGeneration(
            t.T5Config(**t5, decoder_start_token_id=0)
        ),
        f"{inner}tiny-random-BartForConditionalGeneration": t.BartForConditionalGeneration(
            t.BartConfig(**bart, max_position_embeddings=128)
        ),
    }
