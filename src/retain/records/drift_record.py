"""Drift in a record: the movement of predictions, weights and hidden states."""

from __future__ import annotations

from retain.records.base import Interval, Record


class LayerDrift(Record):
    """The movement of one weight matrix: see `Drift` for the measures. Null where one is not defined for this layer.

    `intruders` counts among the top left singular vectors of W_eff those that are like none of W0's;
    `column_leak` is the share of the update outside the column space of W0 (tall layers only).
    """

    name: str
    relative_frobenius: float
    sigma_max: float
    stable_rank: float
    f_delta_keep: float | None = None
    f_delta_learn: float | None = None
    intruders: int | None = None
    column_leak: float | None = None


class HiddenDrift(Record):
    """The movement of hidden states after one block: 1 − CKA is a change of shape, cosine of direction."""

    block: int
    cka: float
    cosine_drift: float
    relative_l2: float


class FeatureScaleLayer(Record):
    """The equivalent amount that a feature-space adapter learned for one layer: |T x|/|x| in the mean, top features."""

    name: str
    amount: float
    share: float
    features: tuple[tuple[int, float], ...] = ()


class Drift(Record):
    """The movement of the model, on held-out text and in its weights; null where it was not or cannot be measured.

    `kl_nats_per_token` = mean over positions of KL(base ‖ tuned); `ce_drift_nats_per_token` = CE_tuned − CE_base;
    `churn` = P(the most likely next token differs); `update_relative_frobenius` = ‖W_eff − W0‖_F/‖W0‖_F over all
    changed matrices together; `f_delta` = mean ‖ΔW x‖/‖x‖ over changed layers and tokens to keep (held-out text),
    `f_delta_learn` the same on the task's inputs, `f_delta_ratio` = learn / keep: above 1 where the update acts on the
    task more than on the rest. `kl_task_nats_per_token` is the KL on the task's own inputs and answers. `sigma_max` is
    the largest singular value of any ΔW, `stable_rank` the median of ‖ΔW‖²_F/σ_max², `intruders` how many of
    `intruders_of` top singular vectors are intruder dimensions, `column_leak` the mean over tall layers; `untouched`
    counts, of the `untouched_of` entries of the changed matrices, those that are the base's bit for bit once the update
    is merged; `layers`,
    `hidden` and `feature_scales` (feature-space methods: where the equivalent amount lies) say it layer by layer.
    """

    tokens: int = 0
    ce_base_nats_per_token: float | None = None
    kl_nats_per_token: float | None = None
    kl_interval: Interval | None = None
    ce_drift_nats_per_token: float | None = None
    ce_drift_interval: Interval | None = None
    churn: float | None = None
    churn_interval: Interval | None = None
    kl_task_nats_per_token: float | None = None
    kl_task_interval: Interval | None = None
    update_relative_frobenius: float | None = None
    f_delta: float | None = None
    f_delta_learn: float | None = None
    f_delta_ratio: float | None = None
    sigma_max: float | None = None
    stable_rank: float | None = None
    intruders: int | None = None
    intruders_of: int | None = None
    column_leak: float | None = None
    untouched: int | None = None
    untouched_of: int | None = None
    layers: tuple[LayerDrift, ...] = ()
    hidden: tuple[HiddenDrift, ...] = ()
    feature_scales: tuple[FeatureScaleLayer, ...] = ()
    note: str = ""

    def joined(self, other: Drift) -> Drift:
        """This with the measures that the other has, and the notes of both."""
        measures = {name: getattr(other, name) for name in other.model_fields_set - {"note"}}
        return self.model_copy(update={**measures, "note": " ".join(filter(None, (self.note, other.note)))})
