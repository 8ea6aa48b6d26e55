"""Losses on control data at one interpolation coefficient: the loss of each independent unit, against its limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retain.budget.certify import ControlLosses, nats_losses
from retain.errors import InputError
from retain.evaluate.held_out import WindowSums
from retain.recipe import KL
from retain.records.metrics_table import KL_DIVERGENCE
from retain.stats.clusters import cluster_codes
from retain.verdict.column import Column


def suite_losses(column: Column, limit: float) -> ControlLosses:
    """The loss of a retention suite by the metric that its verdict rests on; groups of items are the units.

    Args:
        column: that metric on the control items.
        limit: points (of 100); nats per token where the metric is a cross-entropy.

    Raises:
        InputError: the metric has no known range, so that no bound exists; or most of the base's written answers were
            cut off, so that it has nothing to lose.
    """
    metric = column.metric
    if column.cut_off is not None and 2 * column.cut_off.base_unknown > column.cut_off.written:
        raise InputError(f"budget: {column.suite} cannot show what is lost: {column.cut_off.sentence}")
    losses, largest_unit = unit_losses(column)
    if metric.drifts:
        return nats_losses(column.suite, metric, limit, losses, signed=True)
    if metric.span is None:
        raise InputError(f"budget: the range of {metric.name} ({column.suite}) is not known, so none can be kept.")
    return ControlLosses(
        name=column.suite,
        metric=metric,
        unit="points",
        limit=limit / 100,
        losses=losses / metric.span,
        right_or_wrong=column.groups is None and metric.right_or_wrong,
        smallest=-largest_unit,
        largest=largest_unit,
    )


def unit_losses(column: Column) -> tuple[NDArray[np.float64], float]:
    """Loss of each unit, scaled so that their mean is that of the report; and the largest share a unit can have.

    A group of g_i of N items in G groups has the loss Σ (its items' losses)·G/N, at most g_i·G/N times an item's. Where
    the metric weighs its items (a cross-entropy, by tokens), so do the losses.
    """
    sign = 1.0 if column.metric.higher_is_better else -1.0
    weights = np.ones(len(column.base)) if column.weights is None else column.weights / column.weights.mean()
    losses = sign * (column.base - column.tuned) * weights
    codes = cluster_codes(column.groups, len(losses))
    sizes = np.bincount(codes, weights=weights)
    scale = len(sizes) / len(losses)
    summed = np.bincount(codes, weights=losses).astype(np.float64)
    return summed * scale, float(sizes.max() * scale)


def kl_losses(sums: WindowSums, blocks: Sequence[str], limit: float) -> ControlLosses:
    """KL(base ‖ tuned) of each block of held-out text; their mean is that over all tokens, nats per token.

    Args:
        sums: of the windows.
        blocks: (windows,) the block of each; windows of one block are one unit.
        limit: nats per token.

    Raises:
        InputError: there is no text.
    """
    if not blocks:
        raise InputError(f"budget: {KL}: the control text holds no window of two tokens; give more held-out text.")
    codes = cluster_codes(blocks, len(blocks))
    summed = np.bincount(codes, weights=sums.column("kl")).astype(np.float64)
    return nats_losses(KL, KL_DIVERGENCE, limit, summed * (len(summed) / sums.column("tokens").sum()))
