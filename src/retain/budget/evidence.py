"""What control data say of one interpolation coefficient: the loss of each independent unit, against its limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retain.budget.certify import Evidence, nats_evidence
from retain.errors import InputError
from retain.evaluate.columns import Column, columns
from retain.evaluate.held_out import WindowSums
from retain.evaluate.predictions import Predictions
from retain.evaluate.suites.suite import Suite
from retain.recipe import KL
from retain.stats.clusters import cluster_codes
from retain.verdict.judge import CROSS_ENTROPY, largest_of


def suite_evidence(suite: Suite, base: Predictions, tuned: Predictions, limit: float) -> Evidence:
    """The loss of a retention suite by the metric that its verdict rests on; groups of items are the units.

    Args:
        suite: control items.
        base: answers before.
        tuned: answers after.
        limit: points (of 100); nats per token where the metric is a cross-entropy.

    Raises:
        InputError: the metric has no known range, so that no bound exists.
    """
    found = columns(suite, base, tuned)
    if not found:
        raise InputError(f"budget: {suite.name} has no item that both models were scored on.")
    column = found[0]
    losses, largest_unit = unit_losses(column)
    if column.metric.name == CROSS_ENTROPY:
        return nats_evidence(suite.name, limit, losses, signed=True)
    largest = 1.0 if column.metric.right_or_wrong else largest_of(column.metric.name, column.base, column.tuned)
    if largest is None:
        raise InputError(f"budget: the range of {column.metric.name} ({suite.name}) is not known, so none can be kept.")
    alone = column.groups is None and column.metric.right_or_wrong
    return Evidence(
        name=suite.name,
        unit="points",
        limit=limit / 100,
        losses=losses / largest,
        right_or_wrong=alone,
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


def kl_evidence(sums: WindowSums, blocks: Sequence[str], limit: float) -> Evidence:
    """KL(base ‖ tuned) of each block of held-out text; their mean is that over all tokens, nats per token.

    Args:
        sums: of the windows.
        blocks: (windows,) what each belongs to; windows of one block are one unit.
        limit: nats per token.

    Raises:
        InputError: there is no text.
    """
    if not blocks:
        raise InputError(f"budget: {KL}: the control text holds no window of two tokens; give more held-out text.")
    codes = cluster_codes(blocks, len(blocks))
    summed = np.bincount(codes, weights=sums.column("kl")).astype(np.float64)
    return nats_evidence(KL, limit, summed * (len(summed) / sums.column("tokens").sum()))
