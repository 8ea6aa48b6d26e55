"""One run's outcome as figures and words, as experiment trackers take them: a name and a number, a name and a text."""

from __future__ import annotations

from retain.errors import InputError
from retain.records.budget_record import BudgetRecord
from retain.records.result import Result
from retain.records.scores import KeepScore, TaskScore
from retain.report.tables.budget import budget_sentence

PREFIX = "eval_"
"""Beginning of a figure's name: transformers' callbacks show `eval_x` as `eval/x`, apart from the training's."""


def tracked_figures(result: Result) -> dict[str, float]:
    """The figures of a record by their names: scores, drift, the budget, and how many suites got which verdict.

    Shares are from 0 to 1. `learned` and `lost` are changes against the base, above 0 where more was learned, or lost.

    Args:
        result: the record; of `retain.measure`, or of a run that was read.

    Raises:
        InputError: it is no record.

    Examples:
        >>> result = retain.read_result("runs/first")
        >>> "eval_drift/kl_nats_per_token" in retain.tracked_figures(result)
        True
    """
    if not isinstance(result, Result):
        raise InputError(f"result: {type(result).__name__} was given; give a record, as retain.read_result reads one.")
    figures: dict[str, float | None] = {}
    for score in result.task:
        figures |= _sides("learned", score, score.gain)
    for kept in result.keep:
        figures |= _sides("lost", kept, _lost(kept)) | {f"retention/{_key(kept)}": kept.retention}
    for gone in result.gone:
        left = {"share": gone.share, "bound": gone.bound, "old_answer": gone.old_answer_tuned}
        figures |= {f"left/{gone.name}/{gone.metric.name}/{name}": value for name, value in left.items()}
    drift = {name: getattr(result.drift, name) for name in type(result.drift).model_fields}
    figures |= {f"drift/{name}": value for name, value in drift.items() if isinstance(value, int | float)}
    for limit in result.budget:
        figures |= _limit(limit)
    if result.budget:
        figures["budget_kept"] = float(all(limit.kept for limit in result.budget))
    if result.scaling is not None:
        figures["update_scaling_coefficient"] = result.scaling.alpha
    if result.judgement is not None:
        verdicts = [suite.verdict.replace(" ", "_") for suite in result.judgement.suites]
        figures |= {f"suites/{verdict}": float(verdicts.count(verdict)) for verdict in sorted({*verdicts, "lost"})}
    return {f"{PREFIX}{name}": float(value) for name, value in figures.items() if value is not None}


def tracked_texts(result: Result) -> dict[str, str]:
    """The verdict, the reason of it, each suite's, whether the task was learned, and the outcome of a budget."""
    judgement, texts = result.judgement, {"budget": budget_sentence(result)}
    if judgement is not None:
        texts |= {
            "verdict": judgement.overall,
            "verdict_reason": judgement.reason,
            "learned": judgement.learned,
            "gone": "; ".join(f"{suite.suite}: {suite.verdict}" for suite in judgement.gone),
            "suites": "; ".join(f"{suite.suite}: {suite.verdict}" for suite in judgement.suites),
        }
    return {name: text for name, text in texts.items() if text}


def _key(score: TaskScore | KeepScore) -> str:
    return f"{score.name}/{score.metric.name}"


def _sides(name: str, score: TaskScore | KeepScore, change: float | None) -> dict[str, float | None]:
    key = _key(score)
    return {f"{name}/{key}": change, f"base/{key}": score.base, f"tuned/{key}": score.tuned}


def _lost(score: KeepScore) -> float | None:
    """The net loss, in the metric's own unit; None where no score is given."""
    if score.base is None or score.tuned is None:
        return None
    return score.base - score.tuned if score.metric.higher_is_better else score.tuned - score.base


def _limit(limit: BudgetRecord) -> dict[str, float | None]:
    """A limit of the budget; its margin is what the bound on the loss leaves of it, below 0 where it is not kept."""
    values = {"limit": limit.limit, "observed": limit.observed, "bound": limit.bound}
    figures = {**values, "margin": limit.limit - limit.bound, "kept": float(limit.kept)}
    return {f"budget/{limit.name}/{name}": value for name, value in figures.items()}
