"""The check of batches: right for models that ignore padding, in any type, and it finds each way of reading it."""

from __future__ import annotations

import pytest
import torch
import transformers as t
from torch import nn

from retain.data.batches import in_batches, stricter
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.alike import differ
from retain.evaluate.batching import batching_of, mixes_items
from retain.evaluate.encode import features
from retain.evaluate.input_hash import InputHash
from retain.hf.models.positions import Positions
from tiny import make_bert, make_llama, make_rwkv, make_text_tokenizer, make_tokenizer

WORDS = TextPreprocessor(make_tokenizer(), 60)
TEXTS = TextPreprocessor(make_text_tokenizer(), 60)
SIZES = {"vocab_size": 70, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


class Forgetful(nn.Module):
    """A layer that drops the mask: what an attention does that was written without one."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *given, **named):
        return self.inner(*given, **{**named, "attention_mask": None})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_ignores_padding_in_any_type(dtype):
    assert batching_of(make_llama().to(dtype), WORDS) == "padded"
    sizes = {"vocab_size": 70, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    gpt2 = t.GPT2LMHeadModel(t.GPT2Config(**sizes, bos_token_id=1, eos_token_id=1))
    assert batching_of(gpt2.to(dtype), WORDS) == "padded"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_recurrent_model_that_mixes_any_batch_is_found(dtype):
    assert batching_of(make_rwkv().to(dtype), WORDS) == "single"


def test_a_mask_that_is_dropped_is_found():
    model = make_llama()
    for layer in model.model.layers:
        layer.self_attn = Forgetful(layer.self_attn)
    model.config._attn_implementation = "eager"
    assert batching_of(model, WORDS) == "one length"


def test_one_with_positions_for_next_to_nothing_has_no_padding():
    assert batching_of(make_rwkv(), TextPreprocessor(make_tokenizer(), 60, Positions(5))) == "padded"


@pytest.mark.parametrize(("kind", "found"), [(t.BertModel, False), (t.ConvBertModel, True)])
def test_a_convolution_that_looks_into_padding_is_found(kind, found):
    torch.manual_seed(0)
    sizes = {**SIZES, "initializer_range": 0.2, "max_position_embeddings": 64, "embedding_size": 16}
    model = make_bert() if kind is t.BertModel else kind(t.ConvBertConfig(**sizes, head_ratio=1)).eval()

    def read(texts, size):
        return features(model, TEXTS, texts, size, lambda _: None, InputHash())

    assert mixes_items(read, TEXTS, "a b c d e f g h", model) == found
    assert not mixes_items(read, TextPreprocessor(make_text_tokenizer(), 3), "a b c d e f g h", model), "all are cut"


def test_rows_of_one_kind_are_compared_by_what_distinguishes_texts():
    model = nn.Linear(1, 1)
    texts = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert not differ(texts, texts[:1] + 1e-6, model)
    assert differ(texts, texts[:1] + 1e-2, model)
    assert not differ(texts, texts[:1] * torch.nan, model), "which is refused elsewhere"


def test_batches_of_one_length_have_no_padding():
    assert in_batches([3, 1, 3, 2, 3], 2) == [[1, 3], [0, 2], [4]]
    assert in_batches([3, 1, 3, 2, 3], 2, "one length") == [[1], [3], [0, 2], [4]]
    assert in_batches([3, 1, 2], 2, "single") == [[1], [2], [0]]
    assert in_batches([], 2) == []
    assert (stricter("padded", "one length"), stricter("single", "one length")) == ("one length", "single")
