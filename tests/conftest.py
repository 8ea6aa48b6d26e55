"""Tiny models and data, made on the spot: a Llama with its own tokenizer, a task, a keep suite, reference text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *(f"word{number}" for number in range(30))]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer():
    """A word tokenizer of 60-odd words with a chat template, no beginning token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<eos>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return fast


def make_llama(seed: int = 0, vocabulary: int = 70):
    """A Llama of two layers with grouped queries, float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def write_jsonl(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A folder with a tiny Llama and its tokenizer, as a user's base model."""
    folder = tmp_path_factory.mktemp("base") / "tiny-llama"
    make_llama().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """train.jsonl, test.jsonl, letters.jsonl (48 four-way items), text.txt: small, free of overlaps."""
    folder = tmp_path_factory.mktemp("data")
    letters = WORDS[:26]
    rows = [
        {
            "prompt": f"word{i % 30} {letters[i % 26]} {letters[(i * 7) % 26]} word{(i * 11) % 30}",
            "completion": " word1 z",
        }
        for i in range(60)
    ]
    write_jsonl(folder / "train.jsonl", rows[:40])
    write_jsonl(folder / "test.jsonl", rows[40:])
    items = [
        {
            "question": f"{letters[i % 26]} word{i % 30} then",
            "choices": [letters[(i + k) % 26] for k in range(4)],
            "answer": i % 4,
        }
        for i in range(48)
    ]
    write_jsonl(folder / "letters.jsonl", items)
    text = "\n\n".join(" ".join(letters[(i * j) % 26] for j in range(60)) for i in range(1, 20))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return folder
