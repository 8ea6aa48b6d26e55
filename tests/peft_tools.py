"""Tiny models with every kind of adapter, for PEFT's own tools."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tiny import make_llama
from trl_runs import batches

METHODS = ("lora", "vefa", "lorfa", "rotation", "sc-lora")
LAYERS = ["q_proj", "down_proj"]


def make(method: str, seed: int = 1, **fields: Any) -> Any:
    """A tiny Llama with an adapter of a method, trained a little (seed 0: not at all), in eval mode."""
    import peft

    import retain

    if method == "sc-lora":
        new, old = batches()
        config = retain.SCLoRAConfig(r=4, **{"target_modules": LAYERS, **fields})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", retain.CalibrationWarning)
            model = retain.sc_lora(make_llama(), config, learn=[new], keep=[old])
    else:
        kinds = {"lora": peft.LoraConfig, "vefa": retain.VeFAConfig, "lorfa": retain.LoRFAConfig}
        kinds["rotation"] = retain.RotationConfig
        rank = {} if method in ("vefa", "rotation") else {"r": 4}
        given = {"task_type": "CAUSAL_LM", "target_modules": LAYERS, **rank, **fields}
        model = peft.get_peft_model(make_llama(), kinds[method](**given))
    return moved(model, seed) if seed else model.eval()


def moved(model: Any, seed: int, name: str = "default") -> Any:
    """The model, an adapter's trained values moved at random."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if f".{name}." in key and ".modules_to_save." not in key:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def with_second(model: Any) -> Any:
    """The model with another adapter `two` of the same kind and other values."""
    import copy

    model.add_adapter("two", copy.deepcopy(model.peft_config["default"]))
    return moved(model, 2, "two")


def logits(model: Any) -> Any:
    """Of a fixed text, without gradients."""
    import torch

    with torch.no_grad():
        return model(torch.arange(6, 26)[None]).logits


def saved(model: Any, folder: Path) -> str:
    """The folder that the adapter was saved to."""
    model.save_pretrained(folder)
    return str(folder)
