"""The largest interpolation coefficient at which every limit of a budget is certified, and the curve up to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from retain.budget.certify import Certificate, ControlLosses, certify, fixed_sequence, sentence
from retain.budget.control_losses import kl_losses, suite_losses
from retain.budget.split import WINDOW, blocked
from retain.data.forms import evenly
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.columns import paired
from retain.evaluate.drift.summary import drift_summary
from retain.evaluate.held_out import Window, WindowSums, read_windows, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import Predictions, collect_predictions, kept_note
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.task_type import Response
from retain.events import Events
from retain.hf.models.inference import padding_id
from retain.hf.scaling import scaled
from retain.jobs.asked import Asked
from retain.jobs.prediction_cache import NO_CACHE, PredictionCache
from retain.recipe import KL, BudgetOptions
from retain.records.budget_record import BudgetRecord, Scaling, ScalingPoint
from retain.records.metrics_table import KL_DIVERGENCE
from retain.verdict.column import Column
from retain.verdict.evidence import evaluate

TASK_ITEMS = 48
"""Items of each task suite that are measured at each interpolation coefficient."""


@dataclass(frozen=True)
class BudgetSearch:
    """A search: the coefficients to try, and the data that are measured at each.

    Attributes:
        preprocessor: makes the models' inputs.
        control: retention suites and held-out text; with limits these must be control data.
        task: what was learned; nothing is decided by it.
        settings: how items are put.
        limits: the budget by name, as a recipe has it; empty to measure only.
        confidence: of the budget.
        alphas: interpolation coefficients to try, rising.
        groups: share of each coefficient for layers whose names match a pattern.
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
        cls,
        recipe: BudgetOptions,
        preprocessor: Preprocessor,
        control: Suites,
        task: Sequence[Suite],
        settings: Settings,
    ) -> BudgetSearch:
        """The search of a recipe; see `among`."""
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
        cls, preprocessor: Preprocessor, control: Suites, task: Sequence[Suite], settings: Settings, **decided: Any
    ) -> BudgetSearch:
        """A search with few items of the task, and with held-out text by its blocks.

        No answers are written to completions: their limit is of the cross-entropy. `decided` are the other attributes.
        """
        few = [replace(suite, items=evenly(suite.items, TASK_ITEMS)) for suite in task]
        brief = replace(settings, generate=0, window=min(WINDOW, settings.window), drift=False)
        apart = blocked(control.held_out_text, max(brief.held_out_tokens // WINDOW, 1))
        return cls(preprocessor, replace(control, held_out_text=apart), few, brief, **decided)

    @property
    def suites(self) -> list[Suite]:
        """All suites, those of control data first."""
        return [*self.control.all, *self.task]

    def at(self, alpha: float) -> float | dict[str, float]:
        """A coefficient in the form that `scaled` takes: layers of no group take all of it."""
        if not self.groups:
            return alpha
        return {**{name: alpha * share for name, share in self.groups.items()}, ".*": alpha}

    def windows(self) -> list[Window]:
        """Windows of the held-out text; none where the models read none."""
        if not self.preprocessor.reads_text or not self.control.held_out_text:
            return []
        return windows_of(self.preprocessor, self.control.held_out_text, self.settings)


class Outcome(BaseModel):
    """The certificates at the delivered coefficient (at the first, if none is delivered), and the curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: tuple[BudgetRecord, ...] = ()
    scaling: Scaling

    @classmethod
    def of_base(cls, job: BudgetSearch) -> Outcome:
        """The outcome at α = 0: the base, of which nothing needs to be measured."""
        return cls(scaling=Scaling(alpha=0.0, alphas=tuple(job.alphas), groups=dict(job.groups)))

    def noted(self, notes: Sequence[str]) -> Outcome:
        """The same with more notes beside the scaling."""
        note = " ".join([self.scaling.note, *notes]).strip()
        return self.model_copy(update={"scaling": self.scaling.model_copy(update={"note": note})})

    @property
    def kept(self) -> bool:
        """True if every limit is certified."""
        return all(one.kept for one in self.budget)


@dataclass(frozen=True)
class Step:
    """Base and tuned model at one interpolation coefficient.

    Attributes:
        job: the search.
        alpha: the coefficient.
        base: the base's predictions.
        tuned: those of the scaled model.
        windows: of held-out text.
        sums: of both models on the windows.
    """

    job: BudgetSearch
    alpha: float
    base: Predictions
    tuned: Predictions
    windows: Sequence[Window]
    sums: WindowSums

    @cached_property
    def certificates(self) -> dict[str, Certificate]:
        """The certificate of each limit, by its name."""
        return {
            name: certify(self._losses(name, limit), self.job.confidence) for name, limit in self.job.limits.items()
        }

    def _losses(self, name: str, limit: float) -> ControlLosses:
        if name == KL:
            return kl_losses(self.sums, [window.domain for window in self.windows], limit)
        if name not in self.columns:
            raise InputError(f"budget: {name} has no item that both models were scored on.")
        return suite_losses(self.columns[name], limit)

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The deciding metric of each suite of which some item was scored on both sides."""
        found = (paired(suite, self.base, self.tuned) for suite in (*self.job.task, *self.job.control.all))
        return {one.suite.name: one.columns[0] for one in found if one.columns}

    @property
    def kept(self) -> bool:
        """True if every limit is certified here."""
        return all(one.kept for one in self.certificates.values())

    def points(self) -> list[ScalingPoint]:
        """The points of the curve at this coefficient: one a suite, and one of the held-out text."""
        suites = (*self.job.task, *self.job.control.all)
        points = [self._suite_point(suite) for suite in suites if suite.name in self.columns]
        return [*points, self._kl_point()] if self.sums.tokens else points

    def _suite_point(self, suite: Suite) -> ScalingPoint:
        evidence = evaluate(self.columns[suite.name], np.random.default_rng(self.job.settings.seed))
        return ScalingPoint(
            alpha=self.alpha,
            part=suite.part,
            name=suite.name,
            metric=evidence.metric,
            n=evidence.n,
            base=evidence.base,
            tuned=evidence.tuned,
            loss=evidence.loss,
            interval=evidence.loss_interval,
            **self._certified(suite.name),
        )

    def _kl_point(self) -> ScalingPoint:
        found = drift_summary(self.sums, np.random.default_rng(self.job.settings.seed))
        return ScalingPoint(
            alpha=self.alpha,
            part="held-out",
            name=KL,
            metric=KL_DIVERGENCE,
            n=len(self.sums.tokens),
            base=0.0,
            tuned=found.kl_nats_per_token or 0.0,
            loss=found.kl_nats_per_token or 0.0,
            interval=found.kl_interval,
            **self._certified(KL),
        )

    def _certified(self, name: str) -> dict[str, float | bool]:
        certificate = self.certificates.get(name)
        return {} if certificate is None else {"bound": certificate.bound, "kept": certificate.kept}


def search(
    pair: Pair,
    job: BudgetSearch,
    events: Events,
    origin: Mapping[str, tuple[Response, ...]] | None = None,
    cache: PredictionCache = NO_CACHE,
    base_hash: str = "",
) -> tuple[Outcome, Predictions]:
    """Measure at rising coefficients; with limits, up to the first at which one is not certified.

    The coefficients are tested in a fixed order, so what is certified holds together (`retain.budget.certify`), and the
    largest is delivered.

    Args:
        pair: base and all that was trained.
        job: what is measured.
        events: receives the progress.
        origin: responses of an earlier base to control suites, which then count instead of this base's.
        cache: may have the base's predictions.
        base_hash: of the base's weights, by which the cache knows it.

    Returns:
        The outcome, and the predictions of the base.

    Raises:
        InputError: the update cannot be scaled, or a suite has no range.
    """
    windows = job.windows()
    with pair.base() as model:
        asked = Asked(model, base_hash, job.preprocessor, tuple(job.suites), job.settings)
        base = cache.of_base(asked, events, "control data: the base answers")
    base = base.model_copy(update={"responses": {**base.responses, **(origin or {})}})
    steps: list[Step] = []
    for alpha in job.alphas:
        steps.append(_step(pair, job, events, alpha, base, windows))
        if not steps[-1].kept:
            break
    passed = fixed_sequence([list(step.certificates.values()) for step in steps]) if job.limits else len(job.alphas)
    shown = steps[max(passed - 1, 0)]
    outcome = Outcome(
        budget=tuple(map(_record, shown.certificates.values())),
        scaling=Scaling(
            alpha=job.alphas[passed - 1] if passed else 0.0,
            alphas=tuple(job.alphas),
            groups=dict(job.groups),
            curve=tuple(point for step in steps for point in step.points()),
        ),
    )
    if 0 < passed < len(steps):
        outcome = outcome.noted([_in_the_way(steps[passed])])
    return outcome.noted(kept_note(base)), base


def _step(
    pair: Pair, job: BudgetSearch, events: Events, alpha: float, base: Predictions, windows: Sequence[Window]
) -> Step:
    """Measure the tuned model at one coefficient."""
    label, preprocessor, sums = f"control data at α = {alpha:g}", job.preprocessor, WindowSums()
    with scaled(pair.tuned_model, job.at(alpha), base=pair.separate_base):
        with pair.tuned() as model:
            tuned = collect_predictions(model, preprocessor, job.suites, job.settings, events, label, base=pair.base)
        if windows and preprocessor.reads_text:
            pad_id = padding_id(preprocessor.tokenizer)
            sums = read_windows(pair, windows, pad_id, events, f"{label}, held-out text")
    return Step(job, alpha, base, tuned, windows, sums)


def _in_the_way(step: Step) -> str:
    """A note on the limits that this step could not be shown to keep, and on what would settle them."""
    missed = " ".join(sentence(one) for one in step.certificates.values() if not one.kept)
    return f"More of the update, α = {step.alpha:g}, was not delivered. {missed}"


def _record(certificate: Certificate) -> BudgetRecord:
    scale = 100.0 if certificate.unit == "points" else 1.0
    return BudgetRecord(
        name=certificate.name,
        metric=certificate.metric,
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
        message=sentence(certificate),
    )
