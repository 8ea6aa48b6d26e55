"""The part of the drift record that comes from tokens, made from sums over windows of held-out text."""

from __future__ import annotations

import numpy as np

from retain.errors import RetainError
from retain.evaluate.held_out import WindowSums
from retain.records.base import Interval
from retain.records.drift_record import Drift
from retain.stats.bootstrap import ratio_intervals
from retain.verdict.evidence import Evidence


def drift_summary(sums: WindowSums, generator: np.random.Generator, language: Evidence | None = None) -> Drift:
    """Means per token, Σ_w sum_w / Σ_w tokens_w, with intervals that resample windows.

    Windows, not tokens, are the units: tokens of one window depend on one another, and an interval that took them as
    independent would be too narrow. With one window there are figures and no intervals.

    Args:
        sums: of the windows.
        generator: source of the resamples, the same for KL and churn.
        language: evidence of the text's cross-entropy, whose change and interval are shown; None: neither is.

    Raises:
        RetainError: a sum is not finite.
        ValueError: no window, windows without tokens, or arrays of different lengths.
    """
    if not sums.has_distributions:
        return _without_distributions(sums, language)
    columns = [sums.column(name) for name in ("base_nll", "tuned_nll", "kl", "churn")]
    tokens = sums.column("tokens")
    if {column.shape for column in columns} != {tokens.shape} or tokens.size == 0 or not (tokens > 0).all():
        shapes = [column.shape for column in columns]
        raise ValueError(f"windows with at least one token each expected, got shapes {shapes}, {tokens.shape}.")
    if not np.isfinite(columns).all():
        raise RetainError(
            "a model's output on the held-out text is not finite, so its drift cannot be measured. Try a lower "
            "learning rate, or a dtype with more range."
        )
    base_nll, tuned_nll, divergence, differs = columns
    intervals: list[Interval | None] = [None, None, None]
    if len(tokens) > 1:
        # The change of the cross-entropy is resampled too, since windows are put in order by all that is.
        intervals = list(ratio_intervals([divergence, tuned_nll - base_nll, differs], tokens, generator))
    return Drift(
        tokens=int(tokens.sum()),
        ce_base_nats_per_token=float(base_nll.sum() / tokens.sum()),
        kl_nats_per_token=float(divergence.sum() / tokens.sum()),
        kl_interval=intervals[0],
        ce_drift_nats_per_token=None if language is None else language.change,
        ce_drift_interval=None if language is None else language.interval,
        churn=float(differs.sum() / tokens.sum()),
        churn_interval=intervals[2],
        note="" if len(tokens) > 1 else "One window of held-out text: no interval can be given.",
    )


def _without_distributions(sums: WindowSums, language: Evidence | None) -> Drift:
    """The part that the likelihoods of the text itself tell."""
    tokens = sums.column("tokens")
    nats = sums.column("base_nll"), sums.column("tuned_nll")
    if not np.isfinite(nats).all():
        raise RetainError("a log-likelihood of the held-out text is not finite, so its drift cannot be measured.")
    return Drift(
        tokens=int(tokens.sum()),
        ce_base_nats_per_token=float(nats[0].sum() / tokens.sum()),
        ce_drift_nats_per_token=None if language is None else language.change,
        ce_drift_interval=None if language is None else language.interval,
        note="KL and churn need the distributions over all tokens, which are not to be had; the change of the "
        "cross-entropy is that of the given text, token by token, and exact.",
    )
