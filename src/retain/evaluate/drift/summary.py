"""From sums over windows of held-out text to the part of the drift record that tokens tell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retain.errors import RetainError
from retain.records.base import Interval
from retain.records.drift_record import Drift
from retain.stats.bootstrap import ratio_intervals


def drift_summary(
    base_nll_sum: NDArray[Any],
    tuned_nll_sum: NDArray[Any],
    kl_sum: NDArray[Any],
    churn_sum: NDArray[Any],
    tokens: NDArray[Any],
    generator: np.random.Generator,
) -> Drift:
    """Means per token, Σ_w sum_w / Σ_w tokens_w, with intervals that resample windows.

    Windows, not tokens, are the units: tokens of one window depend on one another, and an interval that took them as
    independent would be too narrow. With one window there are figures and no intervals.

    Args:
        base_nll_sum: (windows,) nats, negative log-likelihood under the base summed over the window's tokens.
        tuned_nll_sum: (windows,) nats, under the tuned model.
        kl_sum: (windows,) nats, KL(base ‖ tuned) summed over the window's positions.
        churn_sum: (windows,) positions at which the most likely token differs.
        tokens: (windows,) positions summed over, > 0.
        generator: source of the resamples, the same for all three intervals.

    Raises:
        RetainError: a sum is not finite.
        ValueError: no window, windows without tokens, or arrays of different lengths.
    """
    sums = np.stack([np.asarray(x, dtype=np.float64) for x in (base_nll_sum, tuned_nll_sum, kl_sum, churn_sum)])
    count = np.asarray(tokens, dtype=np.float64)
    if count.shape != sums.shape[1:] or count.size == 0 or not (count > 0).all():
        raise ValueError(f"windows with at least one token each expected, got shapes {sums.shape}, {count.shape}.")
    if not np.isfinite(sums).all():
        raise RetainError(
            "a model's output on the held-out text is not finite, so its drift cannot be measured. Try a lower "
            "learning rate, or a dtype with more range."
        )
    base_nll, tuned_nll, divergence, differs = sums
    moved = tuned_nll - base_nll
    parts = [divergence, moved, differs]
    intervals: list[Interval | None] = [None, None, None]
    if len(count) > 1:
        intervals = list(ratio_intervals(parts, count, generator))
    kl_mean, drift, churn = (float(part.sum() / count.sum()) for part in parts)
    return Drift(
        tokens=int(count.sum()),
        ce_base_nats_per_token=float(base_nll.sum() / count.sum()),
        kl_nats_per_token=kl_mean,
        kl_interval=intervals[0],
        ce_drift_nats_per_token=drift,
        ce_drift_interval=intervals[1],
        churn=churn,
        churn_interval=intervals[2],
        note="" if len(count) > 1 else "One window of held-out text: no interval can be given.",
    )
