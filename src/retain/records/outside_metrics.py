"""Metrics of other programs, as lm-evaluation-harness: each is given its unit, range and direction here, once.

What the program itself declares comes first: the direction. The range of a few families is known by name; whether such
a share is in ones or in per cent is seen from its values. Of any other metric the range is not known, so that a loss
can be shown, but none can be called small.
"""

from __future__ import annotations

from dataclasses import dataclass

from retain.records.metric import Metric, right_or_wrong

SHARES = frozenset(
    {
        *(
            "acc",
            "acc_bytes",
            "acc_mutual_info",
            "acc_norm",
            "accuracy",
            "auc",
            "balanced_accuracy",
            "bleu",
            "bleu_acc",
        ),
        *(
            "bleu_acc",
            "contains",
            "em",
            "exact",
            "exact_match",
            "f1",
            "hit",
            "hits",
            "macro_f1",
            "micro_f1",
            "mrr",
            "precision",
        ),
        *("recall", "reciprocal_rank", "roc_auc", "rouge1", "rouge2", "rouge_l", "rougel", "rougelsum"),
    }
)
"""Shares, in ones or in per cent; of a model that knows nothing they are 0."""

OUT_OF_100 = frozenset({"chrf", "chrf++"})
CORRELATIONS = frozenset({"matthews", "matthews_correlation", "mcc"})
LOWER_IS_BETTER = frozenset(
    {
        *("bits_per_byte", "brier", "brier_score", "byte_perplexity", "cer", "cross_entropy", "error", "loss", "nll"),
        *("perplexity", "ter", "wer", "word_perplexity"),
    }
)
"""Metrics of which less is better, where the program does not declare it."""

TITLES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "contains": "right answer in the text",
    "cross_entropy": "cross-entropy",
    "f1": "F1",
    "macro_f1": "macro-F1",
    "mcc": "MCC",
    "mrr": "MRR",
    "rouge_l": "ROUGE-L",
}


@dataclass(frozen=True)
class Seen:
    """The values of a metric that were seen: the smallest and largest, and whether every item had 0 or 1."""

    smallest: float
    largest: float
    only_0_and_1: bool = False


def outside_metric(name: str, seen: Seen, *, higher_is_better: bool | None = None) -> Metric:
    """The metric of another program.

    Args:
        name: as the program gives it, perhaps with the way in which answers were read: `acc`, `exact_match,none`.
        seen: its values, in this measurement or record.
        higher_is_better: as the program declares; None where it declares nothing.
    """
    family = family_of(name)
    better = family not in LOWER_IS_BETTER if higher_is_better is None else higher_is_better
    title = TITLES.get(name.lower(), "")
    if seen.only_0_and_1 and better and family not in OUT_OF_100 | CORRELATIONS:
        return right_or_wrong(name, title)
    unit, low, high = _range(family, seen)
    return Metric(name=name, title=title, unit=unit, low=low, high=high, higher_is_better=better)


def family_of(name: str) -> str:
    """The name by which the tables here know a metric: without the way in which answers are read."""
    return name.partition(",")[0].lower().removesuffix("_max")


def _range(family: str, seen: Seen) -> tuple[str, float | None, float | None]:
    """Unit, smallest and largest value; nothing where what was seen does not fit into it."""
    scales: list[tuple[str, float, float]] = []
    if family in OUT_OF_100:
        scales = [("points", 0.0, 100.0)]
    elif family in CORRELATIONS:
        scales = [("share", -1.0, 1.0)]
    elif family in SHARES or seen.only_0_and_1:
        scales = [("share", 0.0, 1.0), ("points", 0.0, 100.0)]
    for unit, low, high in scales:
        if low <= seen.smallest and seen.largest <= high * (1 + 1e-9):
            return unit, low, high
    return "", None, None
