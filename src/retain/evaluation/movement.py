"""How far the weights moved, and how much that matters on real inputs.

Relative update size: sqrt(Σ_l ‖ΔW_l‖²_F) / sqrt(Σ_l ‖W0_l‖²_F) over the changed matrices l.
F_Δ: mean over layers and reference tokens of ‖ΔW x‖ / ‖x‖, x the layer's input in the base model
(docs/concepts/measures.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import Progress

from retain.errors import InputError
from retain.evaluation.pair import Pair
from retain.evaluation.scoring import device_of, evaluating
from retain.hf.updates import UpdatesUnavailableError, changed_layers, weight_updates

TOKENS_OBSERVED = 256
"""Reference tokens whose layer inputs are looked at: each layer sees this many vectors."""


@dataclass(frozen=True)
class Movement:
    """The two figures, null where they cannot be had; then `note` says why."""

    relative_frobenius: float | None = None
    f_delta: float | None = None
    note: str = ""


def measure_movement(pair: Pair, windows: Sequence[Sequence[int]], progress: Progress) -> Movement:
    """Both figures, layer by layer: only one layer's update is held at a time.

    Args:
        pair: base and tuned model.
        windows: token ids of reference text; without any, F_Δ is null.
        progress: display for the progress bar.
    """
    try:
        return _measured(pair, windows, progress)
    except (UpdatesUnavailableError, InputError) as error:
        return Movement(note=str(error))


def _measured(pair: Pair, windows: Sequence[Sequence[int]], progress: Progress) -> Movement:
    names = changed_layers(pair.tuned_model, pair.separate_base)
    if not names:
        return Movement(relative_frobenius=0.0, f_delta=0.0 if windows else None)
    inputs = _observed_inputs(pair, names, windows)
    bar = progress.add_task("size of the update", total=len(names))
    moved = weights = ratios = 0.0
    for name, base, update in weight_updates(pair.tuned_model, pair.separate_base):
        moved += float(update.double().square().sum())
        weights += float(base.double().square().sum())
        if name in inputs:
            x = inputs[name].to(update)
            ratios += float(((x @ update.T).norm(dim=1) / x.norm(dim=1).clamp_min(1e-12)).double().mean())
        progress.advance(bar)
    return Movement(
        relative_frobenius=math.sqrt(moved / weights) if weights else 0.0,
        f_delta=ratios / len(inputs) if inputs else None,
    )


def _observed_inputs(pair: Pair, names: Sequence[str], windows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Each layer's input vectors (tokens, in_features) in the base model, on the first reference tokens."""
    seen: dict[str, torch.Tensor] = {}
    tokens = [token for window in windows for token in window][:TOKENS_OBSERVED]
    if not tokens:
        return seen
    with pair.base() as model, _recording(model, names, seen), evaluating(model):
        model(input_ids=torch.tensor([tokens], device=device_of(model)))
    return seen


@contextmanager
def _recording(model: torch.nn.Module, names: Sequence[str], seen: dict[str, torch.Tensor]) -> Iterator[None]:
    def keep(name: str) -> Any:
        def hook(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            x = arguments[0].detach()
            seen[name] = x.reshape(-1, x.shape[-1])

        return hook

    wanted = set(names)
    hooks = [module.register_forward_pre_hook(keep(name)) for name, module in model.named_modules() if name in wanted]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
