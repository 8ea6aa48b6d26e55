"""The recipe: everything a run is told, as one validated value. Read from YAML, changed by flags; no torch here."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from retain.errors import InputError

LEARNING_RATES = {"full": 2e-5, "lora": 5e-4, "lorfa": 5e-4, "vefa": 3e-3, "ia3": 3e-3} | dict.fromkeys(
    ("sc-lora", "corda-kpm", "lora-null", "milora", "random-start"), 1e-4
)
"""Where to start when no learning rate is given: VeFA and IA3 scale features one by one and want a larger one; a LoRA
that starts with both factors away from 0 learns as much as LoRA at about a tenth of its rate."""

OTHER_LEARNING_RATE = 5e-4


class Measuring(BaseModel):
    """What is measured, and how: the part that every verb shares. Paths are relative to the folder one stands in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="Base model: a folder or a hub id. The data decide what it is loaded as: a language model, a "
        "classifier of texts, or a classifier of pictures."
    )
    test: str | None = Field(
        None,
        description="Held-out data of the task: JSONL of {prompt, completion}, {messages}, {text, label} or {image, "
        "label}, a folder of pictures (one folder a class), a suite, or a data set id (owner/name[:split]). Nothing is "
        "trained on it.",
    )
    keep: tuple[str, ...] = Field(
        (),
        description="What must stay: suites by name (`retain suites` lists them), suite files (YAML), or data: JSONL "
        "of {question, choices, answer}, {question, answers}, {text, label}, {image, label}, {query, match}, …",
    )
    reference: tuple[str, ...] = Field(
        (),
        description="Plain text, not the task's, on which the drift of the language is measured; several files are "
        "told apart as genres.",
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
    keep_items: int | None = Field(None, gt=1, description="Items of each keep suite used at most, drawn evenly. [all]")
    tolerance: float = Field(
        5.0, gt=0, le=100, description="Points (of 100) that a keep suite may have lost and still be called kept."
    )
    tolerance_nats: float = Field(
        0.05,
        gt=0,
        description="The same for cross-entropy, on reference text and in keep suites of completions, in nats per "
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
        description="Items of the test data, and of each keep suite of completions, for which both models write an "
        "answer; 0 for none.",
    )
    max_new_tokens: int = Field(48, gt=0, description="Longest answer written, in tokens.")
    reference_tokens: int = Field(8192, gt=1, description="Tokens of the reference text used at most.")
    evaluation_batch_size: int = Field(32, gt=0, description="Sequences scored at once.")
    max_length: int = Field(512, gt=1, description="Longest sequence in tokens; what is cut off is counted and said.")

    @field_validator("keep", "reference", mode="before")
    @classmethod
    def _one_suite_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("model", "output", "tuned", mode="after", check_fields=False)
    @classmethod
    def _home(cls, value: str) -> str:
        return str(Path(value).expanduser()) if value.startswith("~") else value

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        if not (self.test or self.keep or self.reference or getattr(self, "lm_eval", ())):
            raise ValueError("nothing to measure: give at least one of test, keep and reference")
        if self.generate == 1:
            raise ValueError("generate: one answer has no interval; give 0 for none, or at least 2")
        return self


class MeasureRecipe(Measuring):
    """What `retain measure` is told."""

    tuned: str = Field(description="The tuned model: an adapter that PEFT loads or a whole model, by folder or hub id.")
    train: str | None = Field(
        None, description="Labelled data on which the base's head is fitted where it has none for these classes."
    )
    labels: tuple[str, ...] = Field(
        (), description="Classes in the order of the tuned model's outputs, where nothing beside it tells."
    )
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

    @field_validator("lm_eval", "labels", mode="before")
    @classmethod
    def _by_commas(cls, value: Any) -> Any:
        given = (value,) if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(entry, str) for entry in given):
            return value  # the check of the type names what is wrong
        return tuple(part.strip() for entry in given for part in entry.split(",") if part.strip())


class Calibrating(BaseModel):
    """Which texts show the directions that matter, for the new data and for what must stay (sc-lora, its relatives)."""

    calibrate_keep: str = Field(
        "self",
        description="Text whose knowledge must stay: JSONL of {text}, {prompt, completion}, {messages} or {question, "
        "choices, answer}, a text file, or a data set id; self: the base writes it itself. None of it may be measured.",
    )
    calibrate_learn: str | None = Field(None, description="Text to learn, likewise. [the training data]")
    calibrate_tokens: int = Field(
        16384, gt=0, description="Tokens of each of the two that are used, or written, at most."
    )
    calibrate_seed: int = Field(0, ge=0, description="Seed of what the base writes itself.")
    calibrate_batch_size: int = Field(16, gt=0, description="Sequences read or written at once in calibration.")
    calibrate_precision: Literal["float32", "float64"] = Field(
        "float32", description="Type in which moments are summed."
    )
    memory_limit: str | None = Field(
        None,
        description="Memory that the sums may take at once, as 2GB or 500MB; the data are then read several times.",
    )

    @field_validator("memory_limit")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and _bytes(value) is None:
            raise ValueError("give a number of bytes, or a number with KB, MB, GB or TB")
        return value

    @property
    def writes_itself(self) -> bool:
        """Whether the base is to write what is kept."""
        return self.calibrate_keep == "self" and getattr(self, "statistics", None) is None

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes."""
        return None if self.memory_limit is None else _bytes(self.memory_limit)


class CalibrateRecipe(Measuring, Calibrating):
    """What `retain calibrate` is told. What is to be measured later is named so that none of it is calibrated on."""

    train: str | None = Field(None, description="Data to learn: the text to learn, if no calibrate-learn is given.")
    target_modules: str = Field(
        "all-linear", description="Layers, as PEFT names them: all-linear, a regular expression, or names a,b,c."
    )
    sample_norm: Literal["none", "max"] = Field(
        "none", description="max: divide each sample's outputs by the largest magnitude in them."
    )

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        """Nothing needs to be measured."""
        return self


class Recipe(Measuring, Calibrating):
    """What `retain tune` and `retain compare` are told: what to train, on what, how, and what to measure."""

    train: str = Field(description="Data to learn, in the shape of the test data.")

    method: dict[str, Any] = Field(
        default_factory=lambda: {"name": "vefa"},
        description="vefa, lorfa, sc-lora (its relatives corda-kpm, lora-null, milora; random-start), lora, full, or "
        "any PEFT method by its type; its own fields as --method.FIELD VALUE.",
    )
    beta: float | None = Field(
        None,
        ge=0,
        le=1,
        description="sc-lora: weight of what must stay against what is to be learned, 0 to 1. [0.8]",
    )
    statistics: str | None = Field(
        None, description="Statistics that `retain calibrate` wrote, to be used instead of calibrating again."
    )
    rank: int | None = Field(
        None, gt=0, description="Rank of the adapter, for methods that have one (their field r). [8; sc-lora 32]"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate. [a starting point for the method: vefa 3e-3, lora, lorfa 5e-4, sc-lora 1e-4]",
    )
    head: Literal["probe", "random"] = Field(
        "probe",
        description="A classifier's new head: probe fits it on the base's features first, so that the base can be "
        "compared with; random starts it at random.",
    )
    epochs: float = Field(3.0, gt=0, description="Passes over the training data.")
    max_steps: int | None = Field(None, gt=0, description="Optimizer steps, instead of epochs.")
    batch_size: int = Field(8, gt=0, description="Examples in one optimizer step on one device.")
    seed: int = Field(0, ge=0, description="Seed of the adapter's start, of shuffling and of dropout.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Any other field of transformers.TrainingArguments: --training.FIELD VALUE."
    )

    methods: tuple[str | dict[str, Any], ...] = Field(
        (), description="compare: the methods, by name or as {name, field: value}; on the command line a,b,c."
    )
    seeds: int | tuple[int, ...] = Field(1, description="compare: how many seeds, or which.")
    learning_rates: tuple[float, ...] | dict[str, tuple[float, ...]] = Field(
        (), description="compare: learning rates for every method, or {method: [rates]}; on the command line a,b,c."
    )

    @field_validator("method", mode="before")
    @classmethod
    def _method_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else _numbers(value)

    @field_validator("training", mode="before")
    @classmethod
    def _numbers_in_training(cls, value: Any) -> Any:
        return _numbers(value)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = []
        if not isinstance(self.method.get("name"), str):
            problems.append("method has no name")
        problems += [f"methods: an entry has no name: {entry}" for entry in self.methods if not _name(entry)]
        if any(rate <= 0 for rate in self._all_rates()):
            problems.append("learning_rates: every rate must be above 0")
        if isinstance(self.learning_rates, dict):
            compared = {_name(entry) for entry in self.methods}
            problems += [
                f"learning_rates: {name!r} is not among methods" for name in self.learning_rates if name not in compared
            ]
        if (isinstance(self.seeds, int) and self.seeds < 1) or self.seeds == ():
            problems.append("seeds: at least one is needed")
        problems += [f"training.{field}: {reason}" for field, reason in RESERVED.items() if field in self.training]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def method_name(self) -> str:
        """The method's name, in lower case."""
        return str(self.method["name"]).lower()

    @property
    def method_fields(self) -> dict[str, Any]:
        """The method's own fields; the rank stands apart, for methods that have one."""
        return {key: value for key, value in self.method.items() if key != "name"}

    @property
    def rate(self) -> float:
        """The learning rate: as given, or the method's starting point."""
        return self.learning_rate or LEARNING_RATES.get(self.method_name, OTHER_LEARNING_RATE)

    def single(self) -> Recipe:
        """The one run that `tune` does, whatever the recipe says of a comparison."""
        return self.model_copy(update={"methods": (), "seeds": 1, "learning_rates": ()})

    def runs(self) -> list[Recipe]:
        """The single runs that `compare` is made of: every method at each of its learning rates with each seed."""
        seeds = tuple(range(self.seed, self.seed + self.seeds)) if isinstance(self.seeds, int) else self.seeds
        runs = []
        for entry in self.methods or (self.method,):
            method = {"name": entry} if isinstance(entry, str) else dict(entry)
            rank = method.pop("rank", self.rank)
            chosen = self.learning_rates
            rates = chosen.get(str(method["name"]), ()) if isinstance(chosen, dict) else chosen
            runs += [
                self.model_copy(
                    update={
                        "method": method,
                        "rank": rank,
                        "learning_rate": rate,
                        "seed": seed,
                        "methods": (),
                        "seeds": 1,
                        "learning_rates": (),
                    }
                )
                for rate in rates or (self.learning_rate,)
                for seed in seeds
            ]
        return runs

    def _all_rates(self) -> tuple[float, ...]:
        if isinstance(self.learning_rates, dict):
            return tuple(rate for rates in self.learning_rates.values() for rate in rates)
        return self.learning_rates


RESERVED = {
    "output_dir": "say --output",
    "learning_rate": "say --learning-rate",
    "num_train_epochs": "say --epochs",
    "max_steps": "say --max-steps",
    "per_device_train_batch_size": "say --batch-size",
    "seed": "say --seed",
    "remove_unused_columns": "the data are tokenised already",
    "eval_strategy": "what was learned is measured after training; watch the training loss meanwhile",
    "save_strategy": "a checkpoint is taken once a minute",
    "push_to_hub": "upload the adapter folder yourself; the record would show the token",
    "hub_token": "upload the adapter folder yourself; the record would show the token",
}
"""Fields of TrainingArguments that have a flag of their own."""

Kind = TypeVar("Kind", bound=Measuring)


def load_recipe(kind: type[Kind], path: str | None, overrides: dict[str, Any]) -> Kind:
    """Read a recipe and change it by the flags given; either may be missing.

    A flag replaces the recipe's value; of `training` and `method` only the fields given, unless the method's name
    changes, which drops the old method's fields.

    Raises:
        InputError: with every problem of the recipe at once.
    """
    values = _read_yaml(path) if path else {}
    rates = values.get("learning_rates")
    if "methods" in overrides and isinstance(rates, dict):  # the recipe's rates of methods that are not compared now
        values["learning_rates"] = {name: rate for name, rate in rates.items() if name in overrides["methods"]}
    for key, value in overrides.items():
        old = values.get(key)
        if key == "method":
            values[key] = _merged_method(old, value)
        elif isinstance(value, dict) and isinstance(old, dict):
            values[key] = {**old, **value}
        else:
            values[key] = value
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError([_sentence(problem, kind) for problem in error.errors()]) from error


def redacted(judge: str) -> str:
    """A judge's command without its arguments, which may hold a key: its program, and a hash that tells it apart."""
    digest = hashlib.sha256(judge.encode()).hexdigest()[:12]
    words = judge.split()
    return f"{Path(words[0]).name if words else 'nothing'} (sha256 {digest})"


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    return None if found is None else int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " "))


def _numbers(values: Any) -> Any:
    """YAML reads 1e-2 as text (it wants 1.0e-2); people mean the number."""
    if not isinstance(values, dict):
        return values
    return {key: float(value) if _looks_like_float(value) else value for key, value in values.items()}


def _looks_like_float(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) is not None


def _merged_method(old: Any, new: Any) -> Any:
    old = {"name": old} if isinstance(old, str) else old or {}
    new = {"name": new} if isinstance(new, str) else new
    if not isinstance(old, dict) or new.get("name", old.get("name")) != old.get("name"):
        return new
    return {**old, **new}


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: the recipe cannot be read ({reason}).") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a recipe is a mapping of fields to values, found {type(values).__name__}.")
    return values


def _sentence(problem: Any, recipe: type[Measuring]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    kind = problem["type"]
    if kind == "missing":
        return f"{place}: missing; give it in the recipe or as --{place.replace('_', '-')}."
    if kind == "extra_forbidden":
        known = ", ".join(recipe.model_fields)
        return f"{place}: is no field of a recipe (known: {known})."
    if not place:
        return f"{message}."
    return f"{place}: {message} (found {problem['input']!r})."


def _name(entry: str | dict[str, Any]) -> str | None:
    return entry if isinstance(entry, str) else entry.get("name")
