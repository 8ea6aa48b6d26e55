"""SC-LoRA adapters on the contract's models, from statistics that are collected once for each model and precision."""

import copy
import json
from functools import cache
from typing import Any

import torch
from contract_models import ARCHITECTURES, Architecture
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from retain import SCLoRAConfig, sc_lora
from retain.activations import Statistics, collect
from retain.hf.adapters.residual_lora import residual_layers

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 4e-2, torch.float64: 1e-13}
INITIALISATIONS = ("sc-lora", "corda-kpm", "lora-null", "milora")
R = 2
"""BERT's classifier has three outputs."""


def learn_batch(architecture: Architecture, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """As many tokens as the widest layer has outputs, so that there is nothing to warn of."""
    batch = architecture.batch(rows=16, dtype=dtype)
    return {key: value for key, value in batch.items() if key != "labels"}


def keep_batch(architecture: Architecture, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    batch = learn_batch(architecture, dtype)
    if "pixel_values" in batch:
        return {"pixel_values": batch["pixel_values"].flip(-1) ** 2}
    return {"input_ids": batch["input_ids"] ** 2 % 58 + 2}


@cache
def _statistics(name: str, dtype: torch.dtype) -> dict[str, Statistics]:
    architecture = ARCHITECTURES[name]
    base = architecture.make(dtype)
    batches = {"learn": learn_batch(architecture, dtype), "keep": keep_batch(architecture, dtype)}
    return {part: collect(base, [batch]) for part, batch in batches.items()}


def initialised(
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    *,
    onto: nn.Module | None = None,
    adapter: str = "default",
    **fields: Any,
) -> PeftModel:
    """A model with a fresh SC-LoRA adapter, in evaluation mode: on `onto`, or on a base of its own (a copy of one)."""
    if onto is None:
        return copy.deepcopy(_fresh(architecture.name, dtype, adapter, json.dumps(fields)))
    found = _statistics(architecture.name, dtype)
    config = SCLoRAConfig(**{"r": R, **fields})
    return sc_lora(onto, config, learn=found["learn"], keep=found["keep"], adapter_name=adapter).eval()


@cache
def _fresh(name: str, dtype: torch.dtype, adapter: str, fields: str) -> PeftModel:
    architecture = ARCHITECTURES[name]
    return initialised(architecture, dtype, onto=architecture.make(dtype), adapter=adapter, **json.loads(fields))


def plain(
    architecture: Architecture,
    dtype: torch.dtype = torch.float32,
    *,
    onto: PeftModel | None = None,
    adapter: str = "default",
    **fields: Any,
) -> PeftModel:
    """The same with an ordinary LoRA."""
    config = LoraConfig(**{"r": 3, "lora_alpha": 6, "target_modules": "all-linear", **fields})
    if onto is None:
        return get_peft_model(architecture.make(dtype), config, adapter_name=adapter).eval()
    onto.add_adapter(adapter, config)
    onto.set_adapter(adapter)
    return onto.eval()


def disturb(model: nn.Module, adapter: str = "default", seed: int = 2, size: float = 0.05) -> None:
    """Give an adapter, SC-LoRA or ordinary, random values, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if ".lora_" in name and f".{adapter}." in name:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_(noise * size)


def bits(model: nn.Module) -> dict[str, Tensor]:
    """The base weights, whatever wraps them."""
    return {
        key.removeprefix("base_model.model.").replace(".base_layer.", "."): value.detach().clone()
        for key, value in model.state_dict().items()
        if ".lora_" not in key
    }


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def factors(model: nn.Module, adapter: str = "default") -> dict[str, Tensor]:
    """A, B, their initial values and how far they moved, of every layer."""
    found = {}
    for key, layer in residual_layers(model, adapter).items():
        for name, half in (("A", layer.lora_A[adapter]), ("B", layer.lora_B[adapter])):
            whole = (half.initial + half.delta).detach().clone()
            found |= {
                f"{key} {name}": whole,
                f"{key} {name}0": half.initial.clone(),
                f"{key} Δ{name}": half.delta.detach().clone(),
            }
    return found


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor], count: int) -> list[float]:
    """Train; the losses, each from before its step."""
    losses = []
    for _ in range(count):
        scores = model.train()(**batch).logits.float()  # bf16 losses are too coarse to compare
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, -2), batch["labels"].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    model.eval()
    return losses
