"""Train with each of the means against forgetting, and with EWC beside them; adapters to runs/control.

Run: python studies/control/regularisers.py
EWC (Kirkpatrick et al., PNAS 2017, arXiv 1612.00796): λ/2 Σ F_ij ΔW_ij², F the diagonal of the empirical Fisher
information of the adapted weights on the text to keep; here for the ΔW of a LoRA.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from transformers import TrainerCallback

from retain.events import Events
from retain.hf.adapters.attach import attach
from retain.hf.models.describe import model_hash
from retain.hf.models.sides import base_view
from retain.jobs.adapt import train_or_load, training_set_of
from retain.jobs.inputs.prepare import adapter_fields, prepare
from retain.jobs.progress import make_console, showing_progress
from retain.jobs.run import Run
from retain.recipe import Recipe, load_recipe
from retain.train.loop import train

RECIPE = "studies/control/regularisers.yaml"
RUNS: dict[str, dict[str, Any]] = {
    "kl-penalty-0.3": {"kl_weight": 0.3},
    "kl-penalty-3": {"kl_weight": 3.0},
    "replay-0.25": {"replay": 0.25},
    "size-0.0015": {"update_limit": 0.0015},
}
EWC = {"ewc-1e2": 1e2, "ewc-1e4": 1e4}
SEQUENCES, LENGTH = 32, 128
"""Of the text to keep, for the Fisher information."""


@dataclass
class Ewc(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Adds the gradient of λ/2 Σ F ΔW² before each step."""

    strength: float
    fisher: dict[str, torch.Tensor]

    def on_step_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
        """Accumulate the penalty's gradient in the factors."""
        for name, layer in lora_layers(model):
            A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            delta = layer.scaling["default"] * (B @ A)
            (0.5 * self.strength * (self.fisher[name] * delta.square()).sum()).backward()


def lora_layers(model: Any) -> list[tuple[str, Any]]:
    """The adapted layers by name."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def fisher_of(model: Any, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
    """Mean squared gradient of each sequence's mean NLL by the weights under the adapters, float32."""
    weights = {name: layer.get_base_layer().weight for name, layer in lora_layers(model)}
    sums = {name: torch.zeros(weight.shape) for name, weight in weights.items()}
    with base_view(model):
        for weight in weights.values():
            weight.requires_grad_(True)  # noqa: FBT003 -- torch's own signature
        for row in rows:
            ids = torch.tensor([row])
            model(input_ids=ids, labels=ids).loss.backward()
            for name, weight in weights.items():
                sums[name] += weight.grad.float().square() / len(rows)
                weight.grad = None
        for weight in weights.values():
            weight.requires_grad_(False)  # noqa: FBT003 -- torch's own signature
    return sums


def run_ewc(name: str, strength: float, events: Events) -> None:
    """Train one LoRA with EWC and save it."""
    recipe = load_recipe(Recipe, RECIPE, {"output": f"runs/control/{name}"})
    folder = Path(recipe.output) / "adapter"
    if folder.exists():
        return
    prepared = prepare(recipe.model_copy(update={"kl_weight": 1.0}))  # so that the text to keep is read
    run, data, preprocessor = Run.of(recipe, prepared, events), prepared.data, prepared.preprocessor
    torch.manual_seed(recipe.seed)
    model = attach(run.base(), "lora", adapter_fields(recipe))
    rows = [row for text in data.texts["keep"] for row in text.calibration_tokens(preprocessor.tokenizer, LENGTH)]
    fisher = fisher_of(model, [row for row in rows if len(row) > 1][:SEQUENCES])
    training_set = training_set_of(model, preprocessor, data.train)
    train(model, training_set, recipe, Path(recipe.output), events, [Ewc(strength, fisher)])
    model.save_pretrained(folder)


def main(only: Sequence[str]) -> None:
    """Train all, or those named, that are not there yet."""
    for name, fields in RUNS.items():
        folder = Path(f"runs/control/{name}/adapter")
        if (only and name not in only) or folder.exists():
            continue
        recipe = load_recipe(Recipe, RECIPE, {"output": str(folder.parent), **fields})
        with showing_progress(make_console()) as events:
            run = Run.of(recipe, prepare(recipe), events)
            base = run.base()
            train_or_load(run, base, model_hash(base))
        print(name, flush=True)
    for name, strength in EWC.items():
        if not only or name in only:
            with showing_progress(make_console()) as events:
                run_ewc(name, strength, events)
            print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
