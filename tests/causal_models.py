"""Small causal language models of many architectures, made on the spot."""

from __future__ import annotations

import torch
import transformers as t

from tiny import make_llama, make_rwkv

SIZES = {"vocab_size": 70, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
GPT = {"vocab_size": 70, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 1}
MODELS = {
    "llama": make_llama,
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**GPT, n_embd=16, n_positions=64)),
    "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(**GPT, hidden_size=16)),
    "mpt": lambda: t.MptForCausalLM(t.MptConfig(vocab_size=70, d_model=16, n_heads=2, n_layers=2, max_seq_len=64)),
    "opt": lambda: t.OPTForCausalLM(t.OPTConfig(**SIZES, word_embed_proj_dim=16, max_position_embeddings=64)),
    "gemma3": lambda: t.Gemma3ForCausalLM(
        t.Gemma3TextConfig(**SIZES, num_key_value_heads=1, head_dim=8, sliding_window=64, max_position_embeddings=64)
    ),
    "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=64)),
    "mamba": lambda: t.MambaForCausalLM(t.MambaConfig(vocab_size=70, hidden_size=16, num_hidden_layers=2)),
    "rwkv": make_rwkv,
    "jamba": lambda: t.JambaForCausalLM(
        t.JambaConfig(
            **SIZES, num_key_value_heads=1, num_experts=2, mamba_d_state=4, mamba_dt_rank=4, use_mamba_kernels=False
        )
    ),
}  # fmt: skip
SHARING = ("llama", "gpt2", "bloom", "mpt", "opt", "gemma3", "mistral")
"""The models that keep keys and values."""


def made(name: str):
    """A model whose attention tells: with the usual small weights hardly anything but the last token would."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.mul_(2.5)
    return model
