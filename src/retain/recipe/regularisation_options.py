"""Fields of the regularisers: what acts against catastrophic forgetting while training."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from retain.recipe.marks import Decides, Flag
from retain.recipe.measurement_options import split_by_commas


class RegularisationOptions(BaseModel):
    """Regularisers of a training. Their text to keep is that of calibrate-keep."""

    augment: Annotated[
        tuple[str, ...],
        Decides("training", when="augment", recorded=True, of_candidate=True, by_method=True),
        Flag("training", "KIND"),
    ] = Field(
        (),
        description="Augmentation of training images, anew in each epoch. crop: a random part, scaled to the size of "
        "the whole; flip: mirrored half of the time. [none]",
    )

    kl_weight: Annotated[
        float | Literal["budget"] | None,
        Decides("training", when="kl_weight", recorded=True, by_method=True),
        Flag("regularisation", "X|budget"),
    ] = Field(
        None,
        description="Weight of a KL penalty in the loss: KL(base, tuned) on the text to keep; budget: the weight "
        "follows the budget's limit of kl. [no penalty]",
    )
    kl_on: Annotated[
        Literal["keep", "batch"],
        Decides("training", when="kl_weight", recorded=True, by_method=True, later=True),
        Flag("regularisation"),
    ] = Field(
        "keep",
        description="What the KL penalty reads. keep: text to keep; batch: the examples of each step, where they are "
        "learned.",
    )
    kl_temperature: Annotated[
        float,
        Decides("training", when="kl_weight", recorded=True, by_method=True, later=True),
        Flag("regularisation", "T"),
    ] = Field(
        1.0, gt=0, description="Temperature of the KL penalty: T²·KL of predictions whose logits are divided by T."
    )
    task_weight: Annotated[
        float,
        Decides("training", when="kl_weight", recorded=True, by_method=True, later=True),
        Flag("regularisation", "WEIGHT"),
    ] = Field(
        1.0,
        ge=0,
        description="Weight of the task's own loss beside the KL penalty; 1 - kl-weight is that of distillation.",
    )
    teacher: Annotated[
        str | None, Decides("data", when="kl_weight", recorded=True), Flag("regularisation", "MODEL|RUN")
    ] = Field(
        None,
        description="Another model than the base for the KL penalty: a model, or the folder of a run, with the same "
        "vocabulary or the same classes. [the base]",
    )
    teacher_top: Annotated[
        int | None, Decides("training", when="teacher", recorded=True, later=True), Flag("regularisation", "K")
    ] = Field(
        None,
        gt=0,
        description="Language models with --kl-on batch: ask the teacher before training and keep its K most likely "
        "tokens at each learned position, all others as one; it is not in memory while the model learns. [the teacher "
        "beside the model, all tokens]",
    )
    feature_weight: Annotated[
        float | None, Decides("training", when="feature_weight", recorded=True, by_method=True), Flag("regularisation")
    ] = Field(
        None,
        ge=0,
        description="Weight of a feature penalty, for encoders and vision models: what the base's features say of "
        "their inputs stays. [none]",
    )
    feature_on: Annotated[
        Literal["batch", "keep"],
        Decides("training", when="feature_weight", recorded=True, by_method=True, later=True),
        Flag("regularisation"),
    ] = Field(
        "batch",
        description="What the feature penalty reads. batch: the training inputs of each step; keep: text or images to "
        "keep.",
    )
    feature_probe: Annotated[
        Literal["auto", "text", "centres"],
        Decides("training", when="feature_weight", recorded=True, by_method=True),
        Flag("regularisation"),
    ] = Field(
        "auto",
        description="What features say. text: which contexts of the model's text tower they are near (CLIP, SigLIP); "
        "centres: which centres of the base's own features. auto: text where there is such a tower.",
    )
    ewc: Annotated[
        float | None, Decides("training", when="ewc", recorded=True, by_method=True), Flag("regularisation", "WEIGHT")
    ] = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Weight of elastic weight consolidation (EWC) in the loss: half the squared change of each "
        "weight, by its Fisher information on the text to keep. [no penalty]",
    )
    replay: Annotated[
        float | None,
        Decides("training", when="replay", recorded=True, of_candidate=True, by_method=True),
        Flag("regularisation", "SHARE"),
    ] = Field(None, ge=0, lt=1, description="Share of the training rows that are text to keep. [none]")
    update_limit: Annotated[
        float | None, Decides("training", when="update_limit", recorded=True, by_method=True), Flag("regularisation")
    ] = Field(None, gt=0, description="Largest size of the update, to which each step scales it back. [no limit]")
    update_unit: Annotated[
        Literal["relative", "f_delta"],
        Decides("training", when="update_limit", recorded=True, by_method=True),
        Flag("regularisation"),
    ] = Field(
        "relative",
        description="Unit of update-limit. relative: norm of the update by that of the weights; f_delta: change of the "
        "layers' outputs on the text to keep, by their inputs.",
    )
    kl_monitor: Annotated[
        bool, Decides("training", when="kl_monitor", recorded=True, by_method=True), Flag("regularisation")
    ] = Field(
        default=False,
        description="Measure KL(base, tuned) on some text to keep while training, and return to the best state within "
        "the budget's limit of kl.",
    )

    @field_validator("augment", mode="before")
    @classmethod
    def _kinds_by_commas(cls, value: Any) -> Any:
        return split_by_commas(value)

    @field_validator("kl_weight", mode="before")
    @classmethod
    def _number_or_budget(cls, value: Any) -> Any:
        try:
            return value if value is None else float(value)
        except (TypeError, ValueError):
            return value

    @field_validator("kl_weight", mode="after")
    @classmethod
    def _weight_in_range(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and not 0 <= value < math.inf:
            raise ValueError("expected a number of 0 or more, or budget")
        return value

    @property
    def needs_keep_text(self) -> bool:
        """True if a regulariser reads the text to keep."""
        return bool(
            (self.kl_weight and self.kl_on == "keep")
            or self.keeps_features
            or self.ewc
            or self.replay
            or self.kl_monitor
            or (self.update_limit and self.update_unit == "f_delta")
        )

    @property
    def keeps_features(self) -> bool:
        """True if a feature penalty reads the text or images to keep."""
        return bool(self.feature_weight) and self.feature_on == "keep"
