"""A model that sends each token to one of several LoRAs (PEFT's Arrow), or to none: used by two_tasks.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from peft import ArrowConfig, LoraConfig, PeftConfig, PeftModel, create_arrow_model
from peft.tuners.lora.arrow import ArrowLoraLinearLayer
from transformers import AutoModelForCausalLM, PreTrainedModel


def opened(base: str) -> PreTrainedModel:
    """The base, on a GPU where there is one."""
    return AutoModelForCausalLM.from_pretrained(base).to("cuda" if torch.cuda.is_available() else "cpu")


def checked(paths: list[str]) -> list[str]:
    """The adapters' folders, that of a run's adapter for a run; a message where Arrow cannot route between them."""
    folders = [str(Path(path, "adapter")) if Path(path, "adapter").is_dir() else path for path in paths]
    try:
        configs = [PeftConfig.from_pretrained(folder) for folder in folders]
    except (ValueError, OSError) as error:
        sys.exit(f"no adapter is found: {error}; give the folder of a LoRA or a run of retain tune.")
    kinds = [f"{one.peft_type.value} of rank {getattr(one, 'r', '?')}" for one in configs]
    layers = [sorted(one.target_modules) for one in configs if one.target_modules]
    if any(kind != kinds[0] or not isinstance(one, LoraConfig) for kind, one in zip(kinds, configs, strict=True)):
        sys.exit(f"{' and '.join(kinds)}: Arrow routes between LoRAs of one rank; train them alike.")
    if any(one != layers[0] for one in layers):
        sys.exit(f"the LoRAs are on other layers ({layers}), and Arrow needs the same of each; train them alike.")
    return folders


def routed(base: str, adapters: list[str], no_adapter: float | None = None) -> PeftModel:
    """The base with a router over LoRAs, each token to one of them, or to none below a threshold of the cosine."""
    model = create_arrow_model(opened(base), adapters, ArrowConfig(top_k=1, rng_seed=0)).eval()
    for layer in model.modules():
        if isinstance(layer, ArrowLoraLinearLayer) and no_adapter is not None:
            layer.register_forward_hook(route_none(no_adapter))
    return model


def route_none(threshold: float) -> Callable[..., torch.Tensor]:
    """A hook on a router that takes the adapters away from tokens that lie along no adapter's strongest direction."""

    def hook(router: ArrowLoraLinearLayer, inputs: tuple[torch.Tensor, ...], update: torch.Tensor) -> torch.Tensor:
        x = inputs[0].to(router.prototypes.dtype)
        lengths = x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        cosine = ((x @ router.prototypes.T).abs() / lengths).amax(dim=-1, keepdim=True)
        return torch.where(cosine >= threshold, update, torch.zeros_like(update))

    return hook
