"""The update scaling: scale an update back until every limit of a budget is certified, and say what was measured on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.progress import Progress

from retain.budget.certify import Certificate, certify, fixed_sequence, plain
from retain.budget.evidence import kl_evidence, suite_evidence
from retain.budget.split import blocked
from retain.data.preprocess import Preprocessor, TextPreprocessor
from retain.data.rows import evenly
from retain.evaluate.columns import columns
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import Window, WindowSums, read_windows, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, collect_predictions
from retain.evaluate.scores.task import task_score
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.task_type import Response
from retain.hf.models.inference import padding_id
from retain.hf.scaling import scaled
from retain.recipe import KL, BudgetOptions
from retain.records.budget_record import BudgetRecord, Scaling, ScalingPoint

WINDOW = 128
"""Tokens of a window of control text: shorter than those of the report: a block of text has about one."""

TASK_ITEMS = 48
"""Items of each task suite that are asked at each interpolation coefficient."""


@dataclass(frozen=True)
class BudgetSearch:
    """What is asked at each interpolation coefficient.

    Attributes:
        preprocessor: makes the models' inputs.
        control: retention suites and held-out text; with limits these must be control data.
        task: what was learned; nothing is decided by it.
        settings: how items are put.
        limits: the budget by name, as a recipe has it; empty to measure only.
        confidence: of the budget.
        alphas: settings to try, rising.
        groups: part of each setting that layers take whose names match a pattern.
    """

    preprocessor: Preprocessor
    control: Suites
    task: Sequence[Suite]
    settings: Settings
    limits: Mapping[str, float]
    confidence: float
    alphas: Sequence[float]
    groups: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, recipe: BudgetOptions, preprocessor: Preprocessor, control: Suites, task: Sequence[Suite], settings: Settings
    ) -> BudgetSearch:
        """As a recipe says."""
        return cls.among(
            preprocessor,
            control,
            task,
            settings,
            limits=recipe.budget,
            confidence=recipe.confidence,
            alphas=recipe.alphas,
            groups=getattr(recipe, "groups", {}),
        )

    @classmethod
    def among(
        cls, preprocessor: Preprocessor, control: Suites, task: Sequence[Suite], settings: Settings, **told: Any
    ) -> BudgetSearch:
        """With few items of the task. No answers are written to completions: their limit is of the cross-entropy."""
        few = [replace(suite, items=evenly(suite.items, TASK_ITEMS)) for suite in task]
        put = replace(settings, generate=0, window=min(WINDOW, settings.window), drift=False)
        apart = blocked(control.held_out_text, max(put.held_out_tokens // WINDOW, 1))
        return cls(preprocessor, replace(control, held_out_text=apart), few, put, **told)

    def at(self, alpha: float) -> float | dict[str, float]:
        """What `scaled` is told for a setting: layers of no group take it whole."""
        if not self.groups:
            return alpha
        return {**{name: alpha * share for name, share in self.groups.items()}, ".*": alpha}


class Outcome(BaseModel):
    """What became of a budget: the certificates at the delivered setting (at the first, if none is), and the curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: tuple[BudgetRecord, ...] = ()
    scaling: Scaling

    @classmethod
    def of_base(cls, job: BudgetSearch) -> Outcome:
        """The update scaling at 0: the base, of which nothing needs to be measured."""
        return cls(scaling=Scaling(alpha=0.0, alphas=tuple(job.alphas), groups=dict(job.groups)))

    def noted(self, notes: Sequence[str]) -> Outcome:
        """The same with notes beside the update scaling."""
        note = " ".join([self.scaling.note, *notes]).strip()
        return self.model_copy(update={"scaling": self.scaling.model_copy(update={"note": note})})

    @property
    def kept(self) -> bool:
        """Whether every limit is certified."""
        return all(one.kept for one in self.budget)


def turn(
    pair: Pair, job: BudgetSearch, progress: Progress, origin: Mapping[str, tuple[Response, ...]] | None = None
) -> tuple[Outcome, Predictions]:
    """Measure along the scaling path, from the base towards all that was trained; with limits, up to the first not certified.

    The settings are tested in a fixed order, so what is certified holds together (`retain.budget.certify`), and the
    largest is delivered.

    Args:
        pair: base and all that was trained.
        job: what is asked.
        progress: display for progress bars.
        origin: responses of an earlier base to control suites, which then count instead of this base's.

    Returns:
        What became of it, and what the base answered.

    Raises:
        InputError: the update cannot be scaled, or a suite has no range.
    """
    asked = [*job.control.all, *job.task]
    windows = _windows(job)
    with pair.base() as model:
        base = collect_predictions(
            model, job.preprocessor, asked, job.settings, progress, "control data: the base answers"
        )
    base = base.model_copy(update={"responses": {**base.responses, **(origin or {})}})
    found: list[list[Certificate]] = []
    curve: list[ScalingPoint] = []
    for alpha in job.alphas:
        told = f"control data at α = {alpha:g}"
        with scaled(pair.tuned_model, job.at(alpha), base=pair.separate_base):
            with pair.tuned() as model:
                tuned = collect_predictions(model, job.preprocessor, asked, job.settings, progress, told)
            sums = _sums(pair, job, windows, progress, told)
        certificates = _certificates(job, base, tuned, windows, sums)
        curve += _points(job, alpha, base, tuned, sums, {one.name: one for one in certificates})
        found.append(certificates)
        if not all(one.kept for one in certificates):
            break
    passed = fixed_sequence(found) if job.limits else len(job.alphas)
    alpha = job.alphas[passed - 1] if passed else 0.0
    shown = found[max(passed - 1, 0)]
    outcome = Outcome(
        budget=tuple(map(_record, shown)),
        scaling=Scaling(alpha=alpha, alphas=tuple(job.alphas), groups=dict(job.groups), curve=tuple(curve)),
    )
    if 0 < passed < len(found):
        outcome = outcome.noted([_in_the_way(job.alphas[passed], found[passed])])
    return outcome, base


def _in_the_way(alpha: float, certificates: Sequence[Certificate]) -> str:
    """Which limits the next setting could not be shown to keep, and what would settle it."""
    missed = " ".join(plain(one) for one in certificates if not one.kept)
    return f"More of the update, α = {alpha:g}, was not delivered. {missed}"


def _windows(job: BudgetSearch) -> list[Window]:
    if not isinstance(job.preprocessor, TextPreprocessor) or not job.control.held_out_text:
        return []
    return windows_of(job.preprocessor.tokenizer, job.control.held_out_text, job.settings)


def _sums(pair: Pair, job: BudgetSearch, windows: Sequence[Window], progress: Progress, told: str) -> WindowSums:
    if not windows or not isinstance(job.preprocessor, TextPreprocessor):
        return WindowSums()
    return read_windows(pair, windows, padding_id(job.preprocessor.tokenizer), progress, f"{told}, held-out text")


def _certificates(
    job: BudgetSearch, base: Predictions, tuned: Predictions, windows: Sequence[Window], sums: WindowSums
) -> list[Certificate]:
    suites = {suite.name: suite for suite in job.control.all}
    return [
        certify(
            kl_evidence(sums, [window.domain for window in windows], limit)
            if name == KL
            else suite_evidence(suites[name], base, tuned, limit),
            job.confidence,
        )
        for name, limit in job.limits.items()
    ]


def _record(certificate: Certificate) -> BudgetRecord:
    scale = 100.0 if certificate.unit == "points" else 1.0
    return BudgetRecord(
        name=certificate.name,
        limit=certificate.limit * scale,
        unit=certificate.unit,
        confidence=certificate.confidence,
        n=certificate.n,
        observed=certificate.observed * scale,
        bound=certificate.bound * scale,
        p_value=certificate.p_value,
        kept=certificate.kept,
        method=certificate.method,
        clipped=certificate.clipped,
        items_needed=certificate.items_needed,
        told=plain(certificate),
    )


def _points(
    job: BudgetSearch,
    alpha: float,
    base: Predictions,
    tuned: Predictions,
    sums: WindowSums,
    certificates: Mapping[str, Certificate],
) -> list[ScalingPoint]:
    points = [
        _suite_point(job, suite, alpha, base, tuned, certificates.get(suite.name))
        for suite in (*job.task, *job.control.all)
        if columns(suite, base, tuned)
    ]
    return points + ([_kl_point(job, alpha, sums, certificates.get(KL))] if sums.tokens else [])


def _suite_point(
    job: BudgetSearch,
    suite: Suite,
    alpha: float,
    base: Predictions,
    tuned: Predictions,
    certificate: Certificate | None,
) -> ScalingPoint:
    column = columns(suite, base, tuned)[0]
    score = task_score(
        suite.name,
        column.metric.name,
        column.metric.higher_is_better,
        column.base,
        column.tuned,
        generator=np.random.default_rng(job.settings.seed),
        weights=column.weights,
        groups=column.groups,
    )
    low, high = score.interval
    return ScalingPoint(
        alpha=alpha,
        part=suite.part,
        name=suite.name,
        metric=score.metric,
        n=score.n,
        base=score.base,
        tuned=score.tuned,
        loss=-score.gain,
        interval=(-high, -low) if score.higher_is_better else (low, high),
        **_told(certificate),
    )


def _kl_point(job: BudgetSearch, alpha: float, sums: WindowSums, certificate: Certificate | None) -> ScalingPoint:
    found = drift_summary(
        sums.column("base_nll"),
        sums.column("tuned_nll"),
        sums.column("kl"),
        sums.column("churn"),
        sums.column("tokens"),
        np.random.default_rng(job.settings.seed),
    )
    return ScalingPoint(
        alpha=alpha,
        part="held_out_text",
        name=KL,
        metric="kl_nats_per_token",
        n=len(sums.tokens),
        base=0.0,
        tuned=found.kl_nats_per_token or 0.0,
        loss=found.kl_nats_per_token or 0.0,
        interval=found.kl_interval,
        **_told(certificate),
    )


def _told(certificate: Certificate | None) -> dict[str, float | bool]:
    return {} if certificate is None else {"bound": certificate.bound, "kept": certificate.kept}
