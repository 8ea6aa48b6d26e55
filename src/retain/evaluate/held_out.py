"""Both models on the same text, position by position: cross-entropy, KL divergence, churn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from retain.data.batches import Batching
from retain.data.preprocess import Preprocessor, padded
from retain.data.tokens import IGNORED, held_out_windows, pad
from retain.evaluate.generate import read_logits
from retain.evaluate.pair import Pair
from retain.evaluate.scores.token_distributions import compare_tokens, kl
from retain.evaluate.scores.without_reading import context_free_nats
from retain.evaluate.suites.suite import Settings
from retain.events import Events, Task
from retain.hf.models.describe import vocabulary_of
from retain.hf.models.inference import device_of, evaluating

WINDOWS_AT_ONCE = 2
"""Logits of both sides are held for this many of the longest windows, or for more that are shorter and hold no more
tokens: 2 × 256 tokens × 49,152 words × 2 sides take 0.2 GB."""

FEW = 8
"""Tokens that the tuned model reads between two readings of the base: enough to turn the pair to it."""


@dataclass(frozen=True)
class Window:
    """Token ids read at once, the domain they are of, and where the part that counts begins."""

    ids: Sequence[int]
    domain: str = ""
    start: int = 0


@dataclass
class WindowSums:
    """Sums over each window's predicted positions, in nats (churn: counts). All of one length.

    `unread_nll` are those of a model that always predicts the same, see `without_reading.context_free_nats`. `kl` and
    `churn` are empty where a side tells the likelihood of given tokens only, and no distributions.
    """

    base_nll: list[float] = field(default_factory=list)
    tuned_nll: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    churn: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    unread_nll: list[float] = field(default_factory=list)

    @property
    def has_distributions(self) -> bool:
        """True where the distributions of both sides were compared."""
        return len(self.kl) == len(self.tokens)

    def column(self, name: str) -> np.ndarray:
        """One of the columns as float64."""
        return np.asarray(getattr(self, name), dtype=np.float64)


def windows_of(preprocessor: Preprocessor, texts: Mapping[str, str], settings: Settings) -> list[Window]:
    """Windows of held-out texts, the tokens shared evenly by their domains, which are named where there are several.

    None is longer than the model has positions.
    """
    each = settings.held_out_tokens // max(len(texts), 1)
    return [
        Window(ids, domain if len(texts) > 1 else "")
        for domain, text in texts.items()
        for ids in held_out_windows(preprocessor.tokenizer, text, settings.window, each, preprocessor.positions.limit)
    ]


def read_windows(
    pair: Pair, windows: Sequence[Window], pad_id: int, events: Events, label: str, *, batching: Batching = "padded"
) -> WindowSums:
    """Put the same windows to base and tuned model and sum what differs; a window of T tokens predicts T − 1.

    Args:
        pair: the two sides.
        windows: what they read; only positions from `start` on are predicted.
        pad_id: fills batches up.
        events: receives the progress.
        label: its text.
        batching: each window is read alone by models that read padding.
    """
    base = pair.tuned_model if pair.separate_base is None else pair.separate_base
    with evaluating(base), evaluating(pair.tuned_model):
        return _read_windows(pair, windows, pad_id, events.task(label, total=len(windows)), batching)


def _read_windows(pair: Pair, windows: Sequence[Window], pad_id: int, bar: Task, batching: Batching) -> WindowSums:
    sums = WindowSums()
    with pair.base() as model:
        vocabulary = vocabulary_of(model)
    sums.unread_nll = context_free_nats([window.ids[max(window.start, 1) :] for window in windows], vocabulary)
    for batch in _in_batches(windows, batching):
        found = compare_tokens(*_both(pair, batch, pad_id))
        sums.base_nll += _row_sums(found.base_nll, found.mask)
        sums.tuned_nll += _row_sums(found.tuned_nll, found.mask)
        sums.kl += _row_sums(found.kl, found.mask)
        sums.churn += _row_sums(found.churn, found.mask)
        sums.tokens += found.mask.sum(dim=1).tolist()
        bar.advance(len(batch))
    return sums


def _in_batches(windows: Sequence[Window], batching: Batching) -> Iterator[list[Window]]:
    """Windows in their order, as many at once as hold the tokens of two of the longest; alone where padding is read."""
    room = WINDOWS_AT_ONCE * max(len(window.ids) for window in windows) if windows else 0
    batch: list[Window] = []
    for window in windows:
        longest = max(len(one.ids) for one in (*batch, window))
        if batch and (batching != "padded" or (len(batch) + 1) * longest > room):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def base_twice(pair: Pair, windows: Sequence[Window], pad_id: int) -> float:
    """Largest KL of a window, mean over its positions in nats, between two readings by the base.

    Between them the pair is turned to the tuned model and back; anything but 0 is a base that does not come back.
    """
    batch = list(windows)
    with pair.base() as model:
        first = _logits(model, batch, pad_id)
    with pair.tuned() as model:
        _logits(model, [Window(batch[0].ids[:FEW])], pad_id)
    with pair.base() as model:
        again = _logits(model, batch, pad_id)
    mask = _labels(batch)[:, 1:].to(first.device) != IGNORED
    means = (kl(first[:, :-1], again[:, :-1]).double() * mask).sum(dim=1) / mask.sum(dim=1)
    return float(means.max())


def _both(pair: Pair, batch: Sequence[Window], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of both sides over the tokens that both have, and labels."""
    with pair.base() as model:
        base = _logits(model, batch, pad_id)
    with pair.tuned() as model:
        tuned = _logits(model, batch, pad_id)
    common = min(base.shape[-1], tuned.shape[-1])  # a side may have rows for tokens that the other does not have
    return base[..., :common], tuned.to(base.device)[..., :common], _labels(batch).to(base.device)


def _logits(model: Any, batch: Sequence[Window], pad_id: int) -> torch.Tensor:
    """A model's logits (B, T, V) of a batch of windows."""
    return read_logits(model, *padded([window.ids for window in batch], pad_id, device=device_of(model)))


def _labels(batch: Sequence[Window]) -> torch.Tensor:
    """The tokens of a batch of windows, int64 (B, T), from where each counts; `IGNORED` elsewhere."""
    return torch.tensor(pad([[IGNORED] * one.start + list(one.ids[one.start :]) for one in batch], IGNORED))


def _row_sums(values: torch.Tensor, mask: torch.Tensor) -> list[float]:
    sums: list[float] = (values.double() * mask).sum(dim=1).tolist()
    return sums
