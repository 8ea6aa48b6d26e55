"""Fields that every verb shares: the models, the data that are measured, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from retain.recipe.loading_options import LoadingOptions
from retain.recipe.marks import COMMON, Decides, Flag
from retain.recipe.verdict_options import VerdictOptions
from retain.records.paths import expanded
from retain.records.renamed_columns import parse_columns

NOTHING_TO_ASK = (
    "relearn: asks a language model again what should be gone after training on other text: give gone and "
    "held_out_text, or leave relearn out"
)
"""Relearning was asked for, and nothing is there to be asked again, or no text to train on."""


class MeasurementOptions(VerdictOptions, LoadingOptions):
    """The base model, the data that are measured, and how. Paths are relative to the working directory."""

    model: Annotated[
        str, Decides("training", inherited_by=("scale",), of_candidate=True), Flag(COMMON, "MODEL", place=1)
    ] = Field(description="Base model: a folder or a hub id. The data decide what it is loaded as.")
    test: Annotated[str | None, Decides("data", inherited_by=("scale",)), Flag(COMMON, "DATA", place=4)] = Field(
        None,
        description="Held-out data of the task: JSONL of {prompt, completion}, {messages}, {text, label} or {image, "
        "label}, a folder of images (one folder a class), a suite, or a data set id (owner/name[:split]).",
    )
    keep: Annotated[tuple[str, ...], Decides("data", inherited_by=("scale",)), Flag(COMMON, "SUITE", place=5)] = Field(
        (),
        description="What must stay: retention suites by name (see `retain suites`), suite files (YAML) or data; "
        "NAME:=SOURCE gives one a name of your own.",
    )
    held_out_text: Annotated[
        tuple[str, ...], Decides("data", inherited_by=("scale",)), Flag(COMMON, "FILE", place=6)
    ] = Field((), description="Plain text, not the task's, on which drift is measured; several files count as domains.")
    columns: Annotated[
        dict[str, str],
        Decides("training", when="columns", inherited_by=("scale",), recorded=True),
        Flag(COMMON, "NEW=OLD"),
    ] = Field(
        default_factory=dict,
        description="Columns of train and test to rename, as prompt=instruction,completion=output. Other sources say "
        "it behind their name, as FILE::text=content.",
    )
    output: Annotated[str, Decides("nothing", argument="output_dir"), Flag(COMMON, "FOLDER", place=8)] = Field(
        description="Folder for everything that is written."
    )

    keep_format: Annotated[
        Literal["plain", "chat"], Decides("measuring", inherited_by=("from", "scale")), Flag("measurement")
    ] = Field(
        "plain",
        description="Prompt questions with choices as plain text, or through the model's chat template. Questions "
        "answered in writing go through a chat template where there is one, unless their suite says format: plain.",
    )
    keep_score: Annotated[
        Literal["total", "token", "character"],
        Decides("measuring", inherited_by=("from", "scale")),
        Flag("measurement"),
    ] = Field("total", description="Log-likelihood that picks a choice: total, or mean per token or character.")
    test_items: Annotated[int | None, Decides("items", inherited_by=("scale",)), Flag("measurement")] = Field(
        None, gt=1, description="Items of the test data used at most. [all]"
    )
    keep_items: Annotated[int | None, Decides("items", inherited_by=("from", "scale")), Flag("measurement")] = Field(
        None, gt=1, description="Items of each retention suite used at most, drawn evenly. [all]"
    )
    judge: Annotated[str | None, Decides("measuring", secret=True), Flag("measurement", "COMMAND")] = Field(
        None,
        description="Judge of refusals: a command that reads and writes JSON lines, or python:MODULE:FUNCTION, with "
        "ten minutes for each suite. [the built-in detector]",
    )
    store_answers: Annotated[bool, Decides("measuring"), Flag("measurement")] = Field(
        default=False, description="Store what the models write in safety suites."
    )
    drift: Annotated[bool, Decides("measuring"), Flag("measurement")] = Field(
        default=True, description="Compare weights and hidden states layer by layer."
    )
    generate: Annotated[int, Decides("measuring"), Flag("measurement")] = Field(
        64,
        ge=0,
        description="Items of the test data, and of each suite of completions, that both models answer in writing.",
    )
    max_new_tokens: Annotated[int | None, Decides("measuring", inherited_by=("from", "scale")), Flag("measurement")] = (
        Field(
            None,
            gt=0,
            description="Longest written answer, in tokens, of all that set none in a suite file; a model that reasons "
            "first needs more. [completions 48, questions 16, requests 40]",
        )
    )
    held_out_tokens: Annotated[int, Decides("measuring", inherited_by=("scale",)), Flag("measurement")] = Field(
        8192, gt=1, description="Tokens of held-out text used at most."
    )
    evaluation_batch_size: Annotated[int, Decides("measuring", inherited_by=("scale",)), Flag("measurement")] = Field(
        32, gt=0, description="Sequences evaluated at once."
    )
    cache: Annotated[str | None, Decides("nothing"), Flag("measurement", "FOLDER|off")] = Field(
        None,
        description="Folder in which the base's predictions are kept for later runs on the same base and items, "
        "whatever their output; off: in none. [RETAIN_CACHE; ~/.cache/retain]",
    )
    max_length: Annotated[int, Decides("training", inherited_by=("from", "scale"), recorded=True), Flag("model")] = (
        Field(
            512,
            gt=1,
            description="Longest sequence, in tokens; unless stated, at most the model's positions. What is cut off "
            "is counted and reported.",
        )
    )

    @field_validator("keep", "held_out_text", mode="before")
    @classmethod
    def _one_source_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_by_commas(cls, value: Any) -> Any:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(entry, str) for entry in given):
            return value
        return parse_columns(",".join(given))

    @field_validator("model", "output", "tuned", "adapter", mode="after", check_fields=False)
    @classmethod
    def _home(cls, value: str | None) -> str | None:
        if value is None:
            return None
        place = expanded(value)
        return str(place) if value.startswith("~") else value

    @field_validator("model", "output", "train", "tuned", "test", mode="after", check_fields=False)
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("expected a name, which is not blank")
        return value

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        others = getattr(self, "lm_eval", ()) or getattr(self, "only_check", False)
        gone = getattr(self, "gone", ())
        if not (self.test or self.keep or gone or self.held_out_text or others):
            asked = "test, keep, gone and held_out_text" if hasattr(self, "gone") else "test, keep and held_out_text"
            raise ValueError(f"nothing to measure: give at least one of {asked}")
        if getattr(self, "relearn", 0) and not (gone and self.held_out_text):
            raise ValueError(NOTHING_TO_ASK)
        if self.generate == 1:
            raise ValueError("generate: one answer has no interval; give 0 for none, or at least 2")
        return self


class TunedModelOptions(MeasurementOptions):
    """A model that was tuned already, and what its base needs to be compared with it."""

    tuned: Annotated[str, Decides("data"), Flag(COMMON, "MODEL", place=2)] = Field(
        description="Tuned model: an adapter that PEFT loads, or a full model; a folder or a hub id."
    )
    train: Annotated[str | None, Decides("data"), Flag(COMMON, "DATA", place=3)] = Field(
        None, description="Labelled data; the base's head is fitted on them where it has none for these classes."
    )
    labels: Annotated[tuple[str, ...], Decides("measuring"), Flag("model", "CLASS")] = Field(
        (), description="Classes in the order of the tuned model's outputs, where no file beside it names them."
    )

    tokenizer: Annotated[Literal["base", "tuned"] | None, Decides("measuring"), Flag("model")] = Field(
        None,
        description="Tokenizer (and chat template) that both models are given: the base's, or the one beside the tuned "
        "weights, for tokens and templates that came with the tuning. [the base's; refused where the two contradict "
        "each other]",
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_by_commas(cls, value: Any) -> Any:
        return split_by_commas(value)


def split_by_commas(value: Any) -> Any:
    """`"a,b"` or `["a,b", "c"]` as a tuple of the names; anything that holds no text is left to the check of types."""
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(entry, str) for entry in given):
        return value
    return tuple(part.strip() for entry in given for part in entry.split(",") if part.strip())
