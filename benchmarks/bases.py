"""Small models of three kinds made on the spot, with what they read; no downloads."""

from __future__ import annotations

from typing import Any

import torch
from common import device
from torch import Tensor, nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, ViTConfig, ViTModel

KINDS = ("llama", "bert", "vit")


def make(kind: str, hidden: int, layers: int, dtype: torch.dtype, *, checkpointing: bool = False) -> Any:
    """A frozen model whose embeddings' output requires a gradient, so that all cases go backward equally far.

    Args:
        kind: "llama", "bert" or "vit".
        hidden: its width, a multiple of 64; the feed-forward part has 2.6875 (Llama) or 4 times as much.
        layers: how many.
        dtype: of its weights.
        checkpointing: keep only each layer's input, and compute the rest twice.
    """
    torch.manual_seed(0)
    model: Any = _MAKERS[kind](hidden, layers).to(device(), dtype).requires_grad_(requires_grad=False).train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.get_input_embeddings().register_forward_hook(_require_gradient)
    return model


def reads(kind: str, rows: int, length: int) -> tuple[dict[str, Tensor], int]:
    """A model's inputs and their number of tokens; a ViT has 197 for each image, however long a row of text is."""
    generator = torch.Generator().manual_seed(1)
    if kind == "vit":
        pictures = max(1, round(rows * length / 197))
        pixels = torch.randn(pictures, 3, 224, 224, generator=generator).to(device())
        return {"pixel_values": pixels}, pictures * 197
    ids = torch.randint(8, 2048, (rows, length), generator=generator).to(device())
    return ({"input_ids": ids, "labels": ids} if kind == "llama" else {"input_ids": ids}), ids.numel()


def output(model: Any, kind: str, inputs: dict[str, Tensor]) -> Tensor:
    """What comes out at the end: logits, or the last hidden states."""
    given = {key: value for key, value in inputs.items() if key != "labels"}
    if kind == "vit":
        given["pixel_values"] = given["pixel_values"].to(next(model.parameters()).dtype)
    result: Tensor = model(**given, use_cache=False).logits if kind == "llama" else model(**given).last_hidden_state
    return result


def loss(model: Any, kind: str, inputs: dict[str, Tensor]) -> Tensor:
    """The next token's cross-entropy, or for the others the sum over features of one in two, in float32."""
    if kind == "llama":
        result: Tensor = model(**inputs, use_cache=False).loss
        return result
    return output(model, kind, inputs)[..., ::2].float().mean()


def _require_gradient(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.requires_grad_()


def _llama(hidden: int, layers: int) -> Any:
    config = LlamaConfig(
        vocab_size=2048, hidden_size=hidden, intermediate_size=hidden * 43 // 16, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, num_key_value_heads=hidden // 64, max_position_embeddings=2048,
        tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def _bert(hidden: int, layers: int) -> Any:
    config = BertConfig(
        vocab_size=2048, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False)


def _vit(hidden: int, layers: int) -> Any:
    config = ViTConfig(
        hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers, num_attention_heads=hidden // 64,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return ViTModel(config, add_pooling_layer=False)


_MAKERS = {"llama": _llama, "bert": _bert, "vit": _vit}
