"""The recipe of `retain measure`."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from retain.recipe.gone_options import GoneOptions
from retain.recipe.marks import COMMON, Decides, Flag
from retain.recipe.measurement_options import split_by_commas
from retain.recipe.served_options import ServedOptions
from retain.recipe.verdict_options import JUnitOption


class MeasureRecipe(JUnitOption, ServedOptions, GoneOptions):
    """The fields of `retain measure`."""

    output: Annotated[str, Decides("nothing", argument="output_dir"), Flag(COMMON, "FOLDER", place=8)] = Field(
        "", description="Folder for everything that is written."
    )
    lm_eval: Annotated[tuple[str, ...], Decides("items"), Flag("harness", "TASK")] = Field(
        (), description="Tasks of lm-evaluation-harness (pip install retain[lm-eval]) that both models are given."
    )
    lm_eval_path: Annotated[str | None, Decides("data"), Flag("harness", "FOLDER")] = Field(
        None, description="Folder with task files of your own."
    )
    lm_eval_limit: Annotated[int | None, Decides("items"), Flag("harness")] = Field(
        None, gt=0, description="Items of each of these tasks used at most. [all]"
    )
    gate: Annotated[bool, Decides("nothing"), Flag(COMMON)] = Field(
        default=False,
        description="End with exit code 0 only if every suite was kept, and gone where it should be; 3 if something "
        "was lost, changed its format or is still there, 4 if the items are too few to say.",
    )

    @model_validator(mode="after")
    def _something_is_written(self) -> Self:
        if not self.only_check and not self.output.strip():
            raise ValueError("output: missing; give --output FOLDER")
        if self.is_served and self.lm_eval:
            raise ValueError(
                "lm_eval: its tasks are run on models of transformers; lm-evaluation-harness asks servers itself "
                "(--model local-completions), and retain judge compares what it logged"
            )
        if self.is_served and self.relearn:
            raise ValueError("relearn: what is served cannot be trained here; measure the weights themselves")
        return self

    @field_validator("lm_eval", mode="before")
    @classmethod
    def _tasks_by_commas(cls, value: Any) -> Any:
        return split_by_commas(value)
