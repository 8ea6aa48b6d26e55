"""The movement of the weights, layer by layer, and its effect on real inputs.

Per layer, with ΔW = W_eff − W0: ‖ΔW‖_F/‖W0‖_F; σ_max(ΔW); stable rank ‖ΔW‖²_F/σ_max²; F_Δ = mean ‖ΔW x‖/‖x‖ over
the layer's inputs x in the base; intruder dimensions and column-space leak (`retain.evaluate.drift.spectrum`). Over
the model: sqrt(Σ‖ΔW‖²_F)/sqrt(Σ‖W0‖²_F), the mean of F_Δ, the largest σ_max, the median stable rank, and the entries
that merging leaves as they were, to the bit
(docs/concepts/measures.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from torch import Tensor

from retain.evaluate.drift.spectrum import TOP, Against, against_base, largest_singular_value
from retain.hf.models.updates import Update
from retain.linalg.threads import threads_for
from retain.records.drift_record import Drift, LayerDrift

LAYERS_DECOMPOSED = 12
"""Layers whose singular vectors are computed: all of them would take longer than everything else together."""
_GOLDEN = (math.sqrt(5) - 1) / 2
_PREFIX = "base_model.model."
_MATRIX = 2
"""Dimensions of a matrix."""


def plain_name(name: str) -> str:
    """A layer's name as in the base model, without what PEFT puts before it."""
    return name.removeprefix(_PREFIX)


def sampled(names: Sequence[str], count: int = LAYERS_DECOMPOSED) -> set[str]:
    """`count` of the names, one from each of as many equal stretches; all of them where there are no more.

    Within a stretch the place moves by the golden ratio, so that layers of one kind, which come at regular distances,
    are not the only ones met.
    """
    if len(names) <= count:
        return set(names)
    starts = [i * len(names) // count for i in range(count + 1)]
    lengths = (end - start for start, end in itertools.pairwise(starts))
    return {names[starts[i] + int((i * _GOLDEN) % 1 * length)] for i, length in enumerate(lengths)}


def measure_weights(
    names: Sequence[str],
    updates: Iterable[Update],
    keep: Mapping[str, Tensor],
    learn: Mapping[str, Tensor],
    tick: Callable[[], object] = lambda: None,
) -> Drift:
    """Measure the updates one layer at a time; only that layer's matrices are held.

    Args:
        names: the layers that `updates` gives.
        updates: from `retain.hf.models.updates.weight_updates`.
        keep: layer inputs (vectors, n) on inputs to keep, by layer; layers may be missing.
        learn: likewise, on the task's inputs.
        tick: called after each layer.

    Raises:
        UpdatesUnavailableError: from `updates`.
        InputError: from `updates`.
    """
    sums = _WeightSums()
    chosen = sampled(names)
    for update in updates:
        with threads_for(*update.weight.shape[-2:]):
            sums.add(update, keep.get(update.module), learn.get(update.module), decompose=update.module in chosen)
        tick()
    return sums.finished(len(names), len(chosen))


def f_delta(delta: Tensor, inputs: Tensor | None) -> float | None:
    """Mean ‖ΔW x‖/‖x‖ over the vectors x ≠ 0; None without any.

    Args:
        delta: ΔW (m, n).
        inputs: x (vectors, n), any floating dtype; computed in ΔW's.
    """
    if inputs is None:
        return None
    x = inputs.to(delta)
    lengths = x.norm(dim=1)
    present = lengths > 0
    if not present.any():
        return None
    return float(((x[present] @ delta.T).norm(dim=1) / lengths[present]).double().mean())


@dataclass
class _WeightSums:
    moved: float = 0.0
    weights: float = 0.0
    untouched: int = 0
    entries: int = 0
    layers: list[LayerDrift] = field(default_factory=list)
    against: list[Against] = field(default_factory=list)

    def add(self, update: Update, keep: Tensor | None, learn: Tensor | None, *, decompose: bool) -> None:
        moved = float(update.delta.double().square().sum())
        weight = float(update.weight.double().square().sum())
        experts = update.delta.ndim > _MATRIX  # a matrix each: the blocks of one block-diagonal map
        largest = max(map(largest_singular_value, update.delta)) if experts else largest_singular_value(update.delta)
        seen = against_base(update.weight, update.delta) if decompose and not experts else None
        self.moved += moved
        self.weights += weight
        self.untouched += int((update.delta == 0).sum())  # W − W0 is 0 where, and only where, both are the same number
        self.entries += update.delta.numel()
        self.against += [seen] if seen else []
        self.layers.append(
            LayerDrift(
                name=plain_name(update.module),
                relative_frobenius=math.sqrt(moved / weight) if weight else 0.0,
                sigma_max=largest,
                stable_rank=moved / largest**2 if largest else 0.0,
                f_delta_keep=f_delta(update.delta, keep),
                f_delta_learn=f_delta(update.delta, learn),
                intruders=seen.intruders if seen else None,
                column_leak=seen.column_leak if seen else None,
            )
        )

    def finished(self, count: int, chosen: int) -> Drift:
        ranks = [layer.stable_rank for layer in self.layers if layer.sigma_max]
        leaks = [seen.column_leak for seen in self.against if seen.column_leak is not None]
        return Drift(
            update_relative_frobenius=math.sqrt(self.moved / self.weights) if self.weights else 0.0,
            f_delta=_mean([layer.f_delta_keep for layer in self.layers]),
            f_delta_learn=_mean([layer.f_delta_learn for layer in self.layers]),
            sigma_max=max((layer.sigma_max for layer in self.layers), default=0.0),
            stable_rank=median(ranks) if ranks else None,
            intruders=sum(seen.intruders for seen in self.against) if self.against else None,
            intruders_of=sum(seen.of for seen in self.against) if self.against else None,
            column_leak=fmean(leaks) if leaks else None,
            untouched=self.untouched if self.entries else None,
            untouched_of=self.entries or None,
            layers=tuple(self.layers),
            note=self._note(count, chosen),
        )

    def _note(self, count: int, chosen: int) -> str:
        if not self.against and count:
            return "Intruder dimensions and column leak were not computed: the layers are too large to decompose."
        if chosen == count == len(self.against):
            return ""
        return (
            f"Intruder dimensions (of the top {TOP} singular vectors) and column leak are of "
            f"{len(self.against)} of {count} changed layers, spread evenly."
        )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
