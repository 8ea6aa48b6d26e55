"""What is measured, and how: the part of a recipe that every verb shares, and all that `retain measure` is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Measuring(BaseModel):
    """What is measured, and how: the part that every verb shares. Paths are relative to the folder one stands in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="Base model: a folder or a hub id. The data decide what it is loaded as: a language model, a "
        "classifier of texts, or a classifier of images."
    )
    test: str | None = Field(
        None,
        description="Held-out data of the task: JSONL of {prompt, completion}, {messages}, {text, label} or {image, "
        "label}, a folder of images (one folder a class), a suite, or a data set id (owner/name[:split]). Nothing is "
        "trained on it.",
    )
    keep: tuple[str, ...] = Field(
        (),
        description="What must stay: suites by name (`retain suites` lists them), suite files (YAML), or data: JSONL "
        "of {question, choices, answer}, {question, answers}, {text, label}, {image, label}, {query, match}, …; "
        "NAME:=SOURCE gives one a name of your own.",
    )
    held_out_text: tuple[str, ...] = Field(
        (),
        description="Plain text, not the task's, on which the drift of the language is measured; several files are "
        "told apart as domains.",
    )
    output: str = Field(description="Folder for the record, the report and what was trained.")

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type in which the base model is loaded; auto takes the checkpoint's."
    )
    attention: str | None = Field(
        None,
        description="Attention code of transformers: sdpa, eager, flash_attention_2, …; on a CPU eager trains about "
        "twice as fast on short sequences in bfloat16. [transformers' choice]",
    )
    trust_remote_code: bool = Field(
        default=False, description="Run code that comes with the model. Off unless you say so."
    )

    keep_format: Literal["plain", "chat"] = Field(
        "plain",
        description="Keep questions as plain text to go on with, or through the model's chat template. Questions "
        "answered in writing go through the chat template where there is one, unless the suite says format: plain.",
    )
    keep_score: Literal["total", "token", "character"] = Field(
        "total", description="Log-likelihood by which a choice is picked: total, or mean per token or per character."
    )
    test_items: int | None = Field(None, gt=1, description="Held-out items used at most. [all]")
    keep_items: int | None = Field(
        None, gt=1, description="Items of each retention suite used at most, drawn evenly. [all]"
    )
    margin: float = Field(
        5.0, gt=0, le=100, description="Points (of 100) that a retention suite may have lost and still be called kept."
    )
    margin_nats: float = Field(
        0.05,
        gt=0,
        description="The same for cross-entropy, on held-out text and in retention suites of completions, in nats per "
        "token.",
    )
    judge: str | None = Field(
        None,
        description="Who judges whether an answer refuses: a command that reads and writes JSON lines, or "
        "python:MODULE:FUNCTION. [the built-in detector]",
    )
    store_answers: bool = Field(default=False, description="Store what models write in safety suites.")
    drift: bool = Field(default=True, description="Compare weights and hidden states layer by layer.")
    generate: int = Field(
        64,
        ge=0,
        description="Items of the test data, and of each retention suite of completions, for which both models write an "
        "answer; 0 for none.",
    )
    max_new_tokens: int = Field(48, gt=0, description="Longest answer written, in tokens.")
    held_out_tokens: int = Field(8192, gt=1, description="Tokens of the held-out text used at most.")
    evaluation_batch_size: int = Field(32, gt=0, description="Sequences scored at once.")
    max_length: int = Field(512, gt=1, description="Longest sequence in tokens; what is cut off is counted and said.")

    @field_validator("keep", "held_out_text", mode="before")
    @classmethod
    def _one_suite_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("model", "output", "tuned", mode="after", check_fields=False)
    @classmethod
    def _home(cls, value: str) -> str:
        return str(Path(value).expanduser()) if value.startswith("~") else value

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        if not (self.test or self.keep or self.held_out_text or getattr(self, "lm_eval", ())):
            raise ValueError("nothing to measure: give at least one of test, keep and reference")
        if self.generate == 1:
            raise ValueError("generate: one answer has no interval; give 0 for none, or at least 2")
        return self


class MeasuringTuned(Measuring):
    """What is measured of a model that was tuned already."""

    tuned: str = Field(description="The tuned model: an adapter that PEFT loads or a whole model, by folder or hub id.")
    train: str | None = Field(
        None, description="Labelled data on which the base's head is fitted where it has none for these classes."
    )
    labels: tuple[str, ...] = Field(
        (), description="Classes in the order of the tuned model's outputs, where nothing beside it tells."
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_by_commas(cls, value: Any) -> Any:
        return _by_commas(value)


class MeasureRecipe(MeasuringTuned):
    """What `retain measure` is told."""

    lm_eval: tuple[str, ...] = Field(
        (), description="Tasks of lm-evaluation-harness (pip install retain[lm-eval]) that are asked of both models."
    )
    lm_eval_path: str | None = Field(None, description="Folder with task files of your own for lm-evaluation-harness.")
    lm_eval_limit: int | None = Field(None, gt=0, description="Items of each of these tasks used at most. [all]")
    gate: bool = Field(
        default=False,
        description="End with exit code 0 only if every suite was kept, 3 if something was lost or changed its format, "
        "4 if the items are too few to say.",
    )

    @field_validator("lm_eval", mode="before")
    @classmethod
    def _tasks_by_commas(cls, value: Any) -> Any:
        return _by_commas(value)


def _by_commas(value: Any) -> Any:
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(entry, str) for entry in given):
        return value  # the check of the type names what is wrong
    return tuple(part.strip() for entry in given for part in entry.split(",") if part.strip())
