"""Tiny models of several kinds with what reads for them, made on the spot."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *(f"word{number}" for number in range(30))]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


SMALL = {
    "vocab_size": 70,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
"""Sizes of a small decoder of any architecture that has these fields."""


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


def make_text_tokenizer():
    """A tokenizer as BERT's: [CLS] text [SEP], pairs with a second [SEP] and token types."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def make_bert(seed: int = 0, **fields):
    """The body of a BERT of two layers, float32, without a head."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = BertConfig(
        num_attention_heads=4,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.1,
        **(sizes | fields),
    )
    return BertModel(config).eval()


def make_vit(seed: int = 0, **fields):
    """The body of a ViT of two layers for images of 16 x 16, float32, without a head."""
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
        **fields,
    )
    return ViTModel(config, add_pooling_layer=False).eval()


def make_image_processor():
    """What scales images to 16 x 16 and their colours to -1 ... 1, by PIL."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    return ViTImageProcessorPil(
        size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_resize=True, do_normalize=True
    )


COLOURS = {"blue": (40, 60, 210), "green": (40, 190, 70), "red": (210, 50, 40)}


def write_images(folder: Path, each: int, seed: int = 0, classes=tuple(COLOURS), size: int = 16) -> Path:
    """A folder of folders with `each` noisy PNG images a class, every one another."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            noise = generator.normal(0, 45, (size, size, 3))
            array = np.clip(np.asarray(COLOURS.get(name, (128, 128, 128))) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(array).save(folder / name / f"{seed}-{number:03d}.png")
    return folder


def write_jsonl(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_rwkv(seed: int = 0):
    """A recurrent model without attention, which reads padding on the left of a text as text."""
    import torch
    from transformers import RwkvConfig, RwkvForCausalLM

    torch.manual_seed(seed)
    sizes = {"vocab_size": 70, "hidden_size": 16, "num_hidden_layers": 2, "context_length": 64}
    return RwkvForCausalLM(RwkvConfig(**sizes, bos_token_id=1, eos_token_id=1, pad_token_id=0)).eval()


POOLS = {"calm": WORDS[:9], "loud": WORDS[9:18]}
"""Words that tell two classes of text apart."""


def labelled_texts(count: int, seed: int) -> list[dict]:
    """Rows of text and label, as many of each class."""
    draw = random.Random(seed)  # noqa: S311 -- words drawn, not a secret
    return [
        {"text": " ".join(draw.choices(POOLS[label], k=5) + draw.choices(WORDS[18:], k=3)), "label": label}
        for label in list(POOLS) * (count // 2)
    ]
