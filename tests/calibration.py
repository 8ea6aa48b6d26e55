"""Models small enough to be worked out by hand, and sentences for them, batched and padded in every way."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY = 40


def sentences(count, seed=0, longest=9):
    """Lists of token ids, 2 to `longest` of them; 0 is padding."""
    draw = np.random.default_rng(seed)
    return [draw.integers(2, VOCABULARY, draw.integers(2, longest + 1)).tolist() for _ in range(count)]


def batches(rows, size=4, side="right"):
    """Batches of padded ids with their masks."""
    found = []
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        width = max(map(len, part))
        ids = torch.zeros(len(part), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sentence in enumerate(part):
            where = slice(width - len(sentence), width) if side == "left" else slice(len(sentence))
            ids[row, where] = torch.tensor(sentence)
            mask[row, where] = 1
        found.append({"input_ids": ids, "attention_mask": mask})
    return found


class Embedded(nn.Module):
    """Token ids through an embedding into any module."""

    def __init__(self, body, width):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.body = body

    def forward(self, input_ids, attention_mask=None):
        return self.body(self.embedding(input_ids))


def embedded(make_body, width=6):
    """A model around what `make_body` makes, float64, the same one each time."""
    torch.manual_seed(0)
    return Embedded(make_body(), width).double().eval()


def llama(**fields):
    """A Llama of two layers with grouped queries, float64; its biases, where it has some, are not zero."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=VOCABULARY, pad_token_id=0, initializer_range=0.2, **sizes, **heads, **fields)
    return _with_biases(LlamaForCausalLM(config))


def gpt2():
    """A GPT-2 of two layers (Conv1D, biases, absolute positions), float64."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=16, initializer_range=0.2)
    return _with_biases(GPT2LMHeadModel(config))


def _with_biases(model):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def inputs_of(model, names, rows):
    """Layer: all it reads, call by call, over sentences run one at a time and unpadded; by hooks of our own."""
    found = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _module, args, name=name: found[name].append(args[0].reshape(-1, args[0].shape[-1]).clone())
        )
        for name in names
    ]
    with torch.no_grad():
        for sentence in rows:
            model(torch.tensor([sentence]))
    for handle in handles:
        handle.remove()
    return found


def moments_of(model, names, rows):
    """Layer: E[x̃ x̃ᵀ] a token, from the same hooks."""
    found = {}
    for name, calls in inputs_of(model, names, rows).items():
        tokens = torch.cat(calls)
        if getattr(model.get_submodule(name), "bias", None) is not None:
            tokens = torch.cat([tokens, torch.ones(len(tokens), 1, dtype=tokens.dtype)], dim=1)
        found[name] = tokens.T @ tokens / len(tokens)
    return found


def same_moments(left, right, atol=1e-11):
    """Two statistics hold the same second moments of the same layers."""
    assert list(left.manifest.layers) == list(right.manifest.layers)
    for name in left.manifest.layers:
        torch.testing.assert_close(left.second_moment(name), right.second_moment(name), rtol=0, atol=atol)
