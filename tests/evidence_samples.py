"""Columns and evidence from plain arrays, for tests of what is made from them."""

from __future__ import annotations

import numpy as np

from retain.records.metric import Metric
from retain.records.metrics_table import ACCURACY, CONTAINS, EXACT_MATCH
from retain.verdict.column import Column
from retain.verdict.evidence import evaluate

NATS = Metric(name="nats_per_token", unit="nats per token", low=0.0, higher_is_better=False)
UNSCALED = Metric(name="ter", higher_is_better=False)

__all__ = ["ACCURACY", "CONTAINS", "EXACT_MATCH", "NATS", "UNSCALED", "column", "evidence", "seeded"]


def seeded(seed=0):
    return np.random.default_rng(seed)


def column(suite, metric, base, tuned, chance=0.0, *, weights=None, groups=None):
    return Column(suite, metric, np.asarray(base, float), np.asarray(tuned, float), chance, weights, groups)


def evidence(suite, metric, base, tuned, chance=0.0, *, generator=None, weights=None, groups=None):
    made = column(suite, metric, base, tuned, chance, weights=weights, groups=groups)
    return evaluate(made, seeded() if generator is None else generator)
