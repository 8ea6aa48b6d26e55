"""Calibration: ECE, Brier score and likelihood from the probabilities of all labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.records.scores import ReliabilityBin

BINS = 15
SUM_TOLERANCE = 1e-3
"""Tolerance of the sum of a row of probabilities: float16 softmax over many labels is about this far from 1."""
SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities below this count as this much in the likelihood, as in scikit-learn, so that it stays finite."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def ece(probabilities: NDArray[Any], truth: NDArray[Any], bins: int = BINS) -> float:
    """Expected calibration error of the label chosen, 0 … 1, over bins of equal mass.

    Σ_b n_b/n · |accuracy_b − confidence_b|, confidence = the highest probability; among equal ones the first label is
    chosen. An item is in bin ⌊bins · r/n⌋, r items being less sure than it: bins of n/bins items, up to one, items of
    one confidence together. (Guo et al., ICML 2017, with bins of equal mass as in Nixon et al., "Measuring Calibration
    in Deep Learning", 2019.) Upwards biased: a perfectly calibrated model has ECE > 0, more so for few items.
    It has no interval: a resample's ECE is biased once more, so that percentiles of the bootstrap lie above the truth.

    Args:
        probabilities: (n, k), rows that sum to 1.
        truth: (n,) index of the true label.
        bins: how many.

    Raises:
        ValueError: these are no probabilities, or the shapes do not belong together.
    """
    found = reliability_bins(probabilities, truth, bins)
    return sum(part.n * abs(part.accuracy - part.confidence) for part in found) / sum(part.n for part in found)


def brier(probabilities: NDArray[Any], truth: NDArray[Any]) -> float:
    """Brier score: mean over items of Σ_k (p_k − [k is true])², 0 … 2 (Brier, Mon. Weather Rev. 78, 1950)."""
    return float(brier_items(probabilities, truth).mean())


def nll(probabilities: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean of −log p_true in nats; p below `SMALLEST` counts as `SMALLEST` (36.04 nats)."""
    return float(nll_items(probabilities, truth).mean())


def brier_items(probabilities: NDArray[Any], truth: NDArray[Any]) -> Floats:
    """Σ_k (p_k − [k is true])² of each item, (n,); `bootstrap.change_interval` gives an interval of the change."""
    p, y = _checked(probabilities, truth)
    return np.asarray((p**2).sum(axis=1) - 2 * p[np.arange(len(y)), y] + 1)


def nll_items(probabilities: NDArray[Any], truth: NDArray[Any]) -> Floats:
    """−log p_true of each item in nats, (n,); see `nll`."""
    p, y = _checked(probabilities, truth)
    return np.asarray(-np.log(np.maximum(p[np.arange(len(y)), y], SMALLEST)))


def reliability_bins(probabilities: NDArray[Any], truth: NDArray[Any], bins: int = BINS) -> list[ReliabilityBin]:
    """The bins of `ece`, least sure first, empty ones left out."""
    confidence, right = _top_label(probabilities, truth)
    places = _bins(_first_of_equals(confidence), bins)
    return [
        ReliabilityBin(
            confidence=float(confidence[chosen].mean()), accuracy=float(right[chosen].mean()), n=int(chosen.sum())
        )
        for chosen in (places == place for place in np.unique(places))
    ]


def _bins(first: Counts, bins: int) -> Counts:
    """Bin ⌊bins · r/n⌋ of each item in order of confidence, r its `_first_of_equals`."""
    return np.asarray(bins * first // max(1, len(first)))


def _first_of_equals(ordered: Floats) -> Counts:
    """For each of ascending values (n,) the place of the first that equals it."""
    return np.searchsorted(ordered, ordered, side="left").astype(np.int64)


def _top_label(probabilities: NDArray[Any], truth: NDArray[Any]) -> tuple[Floats, Floats]:
    """Confidence and rightness (1 or 0) of the label chosen, (n,) each, in ascending order of confidence."""
    p, y = _checked(probabilities, truth)
    confidence = p.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    return confidence[order], (p.argmax(axis=1) == y)[order].astype(np.float64)


def _checked(probabilities: NDArray[Any], truth: NDArray[Any]) -> tuple[Floats, Counts]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(truth)
    if p.ndim != 2 or y.shape != p.shape[:1] or 0 in p.shape:
        raise ValueError(f"probabilities (n, k) and true labels (n,) expected, got shapes {p.shape} and {y.shape}.")
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"true labels must be whole numbers from 0 to {p.shape[1] - 1}.")
    if not ((p >= 0).all() and np.allclose(p.sum(axis=1), 1, rtol=0, atol=SUM_TOLERANCE)):
        raise ValueError("each row of probabilities must be at least 0 and sum to 1; were these logits?")
    return p, y.astype(np.int64)
