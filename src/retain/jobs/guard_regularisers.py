"""The regularisers of a budget in a Trainer of one's own: a penalty that aims below its limit, a monitor, a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retain.data.preprocess import Preprocessor
from retain.jobs.regularisers import AIM
from retain.train.regularise.callback import RegulariserCallback
from retain.train.regularise.divergence import Batch
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty, text_batches
from retain.train.regularise.update_limit import UpdateLimit

PROBE_BATCHES = 2
"""Batches of text to keep that the KL monitor measures on; the penalty does not read them."""


def batches_of(preprocessor: Preprocessor, texts: Sequence[str]) -> list[Batch]:
    """Batches of text to keep; none without text."""
    return [*text_batches(preprocessor.tokenizer, texts)] if texts and preprocessor.reads_text else []


def regularisers_of(
    batches: Sequence[Batch], limit: float | None, kl_weight: Any, update_limit: float | None, base: Any
) -> list[RegulariserCallback]:
    """The callbacks of a budget: a penalty and a monitor, each on text of its own where there is enough.

    Args:
        batches: text to keep.
        limit: of `kl`; None where the budget has none.
        kl_weight: as `retain.guard` takes it.
        update_limit: likewise.
        base: likewise.
    """
    found: list[RegulariserCallback] = []
    apart = PROBE_BATCHES if len(batches) > PROBE_BATCHES else 0
    penalised, probes = list(batches)[apart:], list(batches)[:PROBE_BATCHES]
    if penalised and kl_weight == "budget" and limit:
        found.append(KLPenalty(penalised, limit=AIM * limit, teacher=base))
    elif penalised and isinstance(kl_weight, (int, float)):
        found.append(KLPenalty(penalised, weight=kl_weight, teacher=base))
    if update_limit is not None:
        found.append(UpdateLimit(update_limit))
    if probes:
        found.append(KLMonitor(probes, teacher=base))
    return found
