"""The record of a sweep: its candidates, the gain and drift of each, and the one that was chosen."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Record):
    """One candidate at one interpolation coefficient.

    Attributes:
        alpha: the part of the update that acts; 1 is all of it.
        loss: nats per scored token (or per item of a classifier) on the training rows held out.
        gain: the base's loss less this.
        gain_error: its standard error over those rows.
        kl: KL(base ‖ tuned) in nats per token (or per item) on the text to keep.
        gains: nats gained on each of these rows.
        accuracy: share of held-out rows that a classifier gets right; None for a language model.
    """

    alpha: float
    loss: float
    gain: float
    gain_error: float
    kl: float
    gains: tuple[float, ...] = ()
    accuracy: float | None = None


class Candidate(_Record):
    """One candidate with its figures, or the reason why there are none.

    Attributes:
        method: its name.
        fields: the fields of the method, as the recipe has them.
        rank: of the adapter; None for the method's own.
        own: fields of the recipe that it brings or shares: regularisers and settings of the training.
        learning_rate: after a short warm-up constant.
        replay: share of replayed rows.
        points: what was measured; empty where it failed.
        step_seconds: median wall time of an optimizer step.
        trainable: number of trained parameters.
        failed: the reason why there are no points.
    """

    method: str
    fields: dict[str, Any] = {}
    rank: int | None = None
    own: dict[str, Any] = {}
    learning_rate: float
    replay: float = 0.0
    points: tuple[Point, ...] = ()
    step_seconds: float = 0.0
    trainable: int = 0
    failed: str | None = None


class Recommendation(_Record):
    """The candidate and the interpolation coefficient to begin with.

    Attributes:
        candidate: its place among the candidates.
        alpha: the interpolation coefficient.
        within: whether its KL is within the limit; if not, none was, and this one moved least.
    """

    candidate: int
    alpha: float
    within: bool


class SweepRecord(_Record):
    """A sweep: `advice.json`.

    Attributes:
        held_weights: what each row held out weighs in a gain: its scored tokens, or 1.
        beside: what the choice is told beside: plain LoRA at its best, or the next; None where nothing else stayed
            within the limit.
        fields: what the advice adds to the recipe: method, rank, regularisers, replay, learning rate.
    """

    retain_advice: Literal[1] = 1
    model: str
    unit: Literal["nats per token", "nats per item"]
    base_loss: float
    base_accuracy: float | None = None
    held_items: int
    held_weights: tuple[int, ...] = ()
    train_items: int
    sweep_steps: int
    seed: int
    probes: int
    probe_tokens: int | None = None
    limit: float
    limit_stated: bool
    candidates: tuple[Candidate, ...]
    chosen: Recommendation
    beside: Recommendation | None = None
    fields: dict[str, Any] = {}
    untried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    benchmark: tuple[str, ...] = ()
    whole_steps: int
    whole_seconds: float

    @property
    def best(self) -> Candidate:
        """The candidate that was chosen."""
        return self.candidates[self.chosen.candidate]

    @property
    def best_point(self) -> Point:
        """Its figures at the interpolation coefficient that was chosen."""
        return next(point for point in self.best.points if point.alpha == self.chosen.alpha)
