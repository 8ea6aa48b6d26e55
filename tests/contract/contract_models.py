"""Four tiny models made on the spot, each with a batch and a loss, and how the contract makes adapters for them."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from retain.methods.table import METHODS, Method

BY_NAME = {method.name: method for method in METHODS}


@dataclass(frozen=True)
class Architecture:
    name: str
    model: type
    config: Any
    linear: str
    """The end of the name of one linear layer."""

    def make(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        torch.manual_seed(0)
        return self.model(deepcopy(self.config)).to(dtype).eval()  # PEFT writes into configurations

    def shallow(self) -> "Architecture":
        """The same with one layer: what one does all do, and compilers take their time for each."""
        config = deepcopy(self.config)
        config.num_hidden_layers = 1
        return replace(self, config=config)

    def batch(self, rows: int = 4, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        if self.name == "vit":
            pixels = torch.randn(rows, 3, 16, 16, generator=generator, dtype=torch.float64)
            return {"pixel_values": pixels.to(dtype), "labels": torch.arange(rows) % 3}
        ids = torch.randint(2, 60, (rows, 8), generator=generator)
        return {"input_ids": ids, "labels": torch.arange(rows) % 3 if self.name == "bert" else ids}


_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture(
            "llama",
            LlamaForCausalLM,
            LlamaConfig(
                **_SIZES, vocab_size=64, intermediate_size=48, num_key_value_heads=2, bos_token_id=0, eos_token_id=1
            ),
            "q_proj",
        ),
        Architecture(
            "gpt2",
            GPT2LMHeadModel,
            GPT2Config(
                n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=32, bos_token_id=0, eos_token_id=1,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            ),
            "c_attn",
        ),
        Architecture(
            "bert",
            BertForSequenceClassification,
            BertConfig(
                **_SIZES, vocab_size=64, intermediate_size=48, num_labels=3,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            ),
            "query",
        ),
        Architecture(
            "vit",
            ViTForImageClassification,
            ViTConfig(
                **_SIZES, intermediate_size=48, image_size=16, patch_size=8, num_labels=3,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            ),
            "fc1",
        ),
    )
}  # fmt: skip


def make_config(method: Method, **fields: Any) -> Any:
    return method.config(**{"target_modules": "all-linear", **fields})


def adapted(method: Method, architecture: Architecture, dtype: torch.dtype = torch.float32, **fields: Any) -> PeftModel:
    """A fresh model with a fresh adapter, in evaluation mode; the adapter is the identity."""
    return get_peft_model(architecture.make(dtype), make_config(method, **fields)).eval()


def disturb(model: nn.Module, adapter: str = "default", seed: int = 2, size: float = 0.05) -> None:
    """Give an adapter random values, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers_of(model):
        for name in layer.adapter_layer_names:
            if adapter in getattr(layer, name):
                for parameter in getattr(layer, name)[adapter].parameters():
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.data.copy_(noise * size)


def layers_of(model: nn.Module) -> list[Any]:
    from retain.hf.tuners.feature_layer import FeatureLayer

    return [module for module in model.modules() if isinstance(module, FeatureLayer)]


def logits(model: nn.Module, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
    with torch.no_grad():
        return model(**batch, **kwargs).logits


def bits(model: nn.Module) -> dict[str, Tensor]:
    """The base weights, whatever wraps them."""
    return {
        key.removeprefix("base_model.model.").replace(".base_layer.", "."): value.detach().clone()
        for key, value in model.state_dict().items()
        if not any(f".{part}" in key for method in METHODS for part in method.layer.module_names)
    }


def same_bits(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[key]) for key, value in left.items())
