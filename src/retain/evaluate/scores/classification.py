"""Macro-F1 and Matthews' correlation of a set of predicted classes, and the interval of their change.

A set-level score is no mean of items, so its interval needs the set counted anew for every resample. All that macro-F1
and MCC read is the confusion table; resampling items is drawing how often each (truth, base's label, tuned label)
occurs. So both scores are functions of tables here, of many tables at once; the tests hold them against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from retain.errors import InputError
from retain.records.base import Interval
from retain.stats.bootstrap import CHUNK_DRAWS, FEW_CHANGED, RESAMPLES, few_changes_interval, percentiles
from retain.stats.mcnemar import counts

Floats = NDArray[np.float64]
Labels = NDArray[Any]

SetMetric = Callable[[Floats], Floats]
"""A function of confusion tables (…, k, k), rows the true and columns the predicted label, that gives scores (…)."""


def confusion(truth: Labels, predicted: Labels) -> Floats:
    """Confusion table (k, k) over all labels of either side in sorted order: rows true, columns predicted."""
    codes, k = _codes(truth, predicted)
    return np.bincount(codes[0] * k + codes[1], minlength=k * k).reshape(k, k).astype(np.float64)


def table_macro_f1(tables: Floats) -> Floats:
    """Macro-F1 (…) of confusion tables (…, k, k): mean over the labels of the truth of 2·TP/(2·TP + FP + FN), 0 … 1.

    A label that does not occur in the truth has no F1 and is left out of the mean: a wrong answer outside the known
    labels costs its true label's recall and nothing else. scikit-learn counts such a label as one more, with F1 = 0,
    unless it is told `labels`: then two models would be averaged over different sets of labels.
    """
    true, predicted = tables.sum(axis=-1), tables.sum(axis=-2)
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    known = true > 0
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(true), where=known)
    return np.asarray(f1.sum(axis=-1) / known.sum(axis=-1))


def table_matthews(tables: Floats) -> Floats:
    """Matthews correlation coefficient (…), −1 … 1, of confusion tables (…, k, k).

    It is 0 where the truth or the prediction is one label throughout.

    R_K = (c·n − Σ_k t_k p_k)/√((n² − Σ p_k²)(n² − Σ t_k²)), c items right of n, t_k and p_k how often label k is true
    and predicted. (Gorodkin, Comput. Biol. Chem. 28, 2004, 367–374; for two labels Matthews 1975.)
    """
    true, predicted = tables.sum(axis=-1), tables.sum(axis=-2)
    n = true.sum(axis=-1)
    right = np.trace(tables, axis1=-2, axis2=-1)
    spread = (n**2 - (predicted**2).sum(axis=-1)) * (n**2 - (true**2).sum(axis=-1))
    above = right * n - (true * predicted).sum(axis=-1)
    return np.asarray(np.divide(above, np.sqrt(spread), out=np.zeros_like(n), where=spread > 0))


def paired_summary_interval(
    metric: SetMetric,
    truth: Labels,
    base: Labels,
    tuned: Labels,
    generator: np.random.Generator,
    span: float = 1.0,
) -> Interval:
    """95 % interval of the change, tuned − base, of a set-level score: paired bootstrap, expanded percentiles.

    A resample draws n items with their truth and both predictions. Items that carry news are those on which the two
    sides differ, wrong answers exchanged for other wrong ones included. There is no closed form for few of them: where
    fewer than `bootstrap.FEW_CHANGED` items changed, the interval reaches at least as far to each side as that of the
    accuracy does, times the span of the score.

    Args:
        metric: a function of confusion tables, `table_macro_f1` or `table_matthews`.
        truth: (n,) true labels.
        base: (n,) labels that the base gives.
        tuned: (n,) labels that the tuned model gives.
        generator: source of the resamples; equal seeds give equal intervals.
        span: the largest value of the score minus the smallest.

    Raises:
        InputError: fewer than two items.
        ValueError: the arrays are not of one length.
    """
    codes, k = _codes(truth, base, tuned)
    n = codes.shape[1]
    if n < 2:
        raise InputError(f"an interval needs at least two items, but there is {n}: give more.")
    cells, count = np.unique(codes, axis=1, return_counts=True)
    to_base, to_tuned = (_spread(cells[0] * k + cells[side], k) for side in (1, 2))
    samples = np.empty(RESAMPLES)
    step = max(1, CHUNK_DRAWS // max(k * k, len(count)))
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        drawn = generator.multinomial(n, count / n, size=size).astype(np.float64)
        before, after = ((drawn @ part).reshape(size, k, k) for part in (to_base, to_tuned))
        samples[start : start + size] = metric(after) - metric(before)
    changed = int((codes[1] != codes[2]).sum())
    low, high = percentiles(samples, changed)
    if changed >= FEW_CHANGED:
        return low, high
    lost, gained = counts(codes[1] == codes[0], codes[2] == codes[0])
    (least, most), of_accuracy = few_changes_interval(lost, gained, n), (gained - lost) / n
    table = to_base.T @ count, to_tuned.T @ count
    before, after = (metric(np.asarray(side, dtype=np.float64).reshape(1, k, k))[0] for side in table)
    change = float(after - before)
    low = min(low, change - span * (of_accuracy - least))
    high = max(high, change + span * (most - of_accuracy))
    return max(low, -span), min(high, span)


def _spread(places: NDArray[np.int64], k: int) -> Any:
    """Sparse (cells, k²): adds each cell's draws to its place in the table."""
    ones = np.ones(len(places))
    return sparse.csr_array((ones, (np.arange(len(places)), places)), shape=(len(places), k * k))


def _codes(*labels: Labels) -> tuple[NDArray[np.int64], int]:
    """Labels of one set as integers (sides, n), and how many different ones there are, k."""
    sides = _paired(*labels)
    if not len(sides[0]):
        raise ValueError("labels of at least one item expected, and there is none.")
    if len({side.dtype.kind in "iub" for side in sides}) > 1:
        raise ValueError("true and predicted labels must be of one kind: all text, or all whole numbers.")
    names, codes = np.unique(np.concatenate(sides), return_inverse=True)
    return codes.reshape(len(sides), -1).astype(np.int64), len(names)


def _paired(*arrays: Labels) -> tuple[Labels, ...]:
    sides = tuple(np.asarray(array) for array in arrays)
    if sides[0].ndim != 1 or len({side.shape for side in sides}) > 1:
        raise ValueError(f"vectors of one length expected, got shapes {', '.join(str(side.shape) for side in sides)}.")
    return sides
