"""Both models on the same reference text, position by position: cross-entropy, KL divergence, churn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from rich.progress import Progress

from retain.data.tokens import IGNORED, pad
from retain.evaluation.metrics.tokens import churn, kl, shifted_nll
from retain.evaluation.pair import Pair
from retain.evaluation.scoring import device_of, read_logits

WINDOWS_AT_ONCE = 2
"""Logits of both sides are held for this many windows: 2 × 256 tokens × 49,152 words × 2 sides take 0.2 GB."""


@dataclass
class WindowSums:
    """Sums over each window's predicted positions, in nats (churn: counts). All of one length."""

    base_nll: list[float] = field(default_factory=list)
    tuned_nll: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    churn: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """One of the columns as float64."""
        return np.asarray(getattr(self, name), dtype=np.float64)


def read_reference(pair: Pair, windows: Sequence[Sequence[int]], pad_id: int, progress: Progress) -> WindowSums:
    """Put the same windows to base and tuned model and sum what differs; a window of T tokens predicts T − 1."""
    sums = WindowSums()
    bar = progress.add_task("reference text, both models", total=len(windows))
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        ids = list(windows[start : start + WINDOWS_AT_ONCE])
        base, tuned, labels = _both(pair, ids, pad_id)
        base_nll, mask = shifted_nll(base, labels)
        tuned_nll, _ = shifted_nll(tuned, labels)
        divergence = kl(base[:, :-1], tuned[:, :-1])
        differs = churn(base[:, :-1], tuned[:, :-1])
        sums.base_nll += _row_sums(base_nll, mask)
        sums.tuned_nll += _row_sums(tuned_nll, mask)
        sums.kl += _row_sums(divergence, mask)
        sums.churn += _row_sums(differs, mask)
        sums.tokens += mask.sum(dim=1).tolist()
        progress.advance(bar, len(ids))
    return sums


def _both(pair: Pair, ids: list[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mask = torch.tensor(pad([[1] * len(row) for row in ids], 0))
    inputs = torch.tensor(pad(ids, pad_id))
    with pair.base() as model:
        base = read_logits(model, inputs.to(device_of(model)), mask.to(device_of(model)))
    with pair.tuned() as model:
        tuned = read_logits(model, inputs.to(device_of(model)), mask.to(device_of(model)))
    labels = inputs.masked_fill(mask == 0, IGNORED).to(base.device)
    return base, tuned.to(base.device), labels


def _row_sums(values: torch.Tensor, mask: torch.Tensor) -> list[float]:
    sums: list[float] = (values.double() * mask).sum(dim=1).tolist()
    return sums
