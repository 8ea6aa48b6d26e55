"""The recipe of `retain tune` and `retain compare`: what to train, on what, how, and what to measure."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from retain.methods import table
from retain.recipe.budget_options import KL, BudgetOptions
from retain.recipe.calibration_options import CalibrationOptions
from retain.recipe.comparison_lists import LARGEST_SEED, Entry, list_problems, name_of, seeds_of
from retain.recipe.gone_options import GoneOptions
from retain.recipe.launch_options import LaunchOptions
from retain.recipe.marks import COMMON, Decides, Flag, decisions, fields_where, flags_where
from retain.recipe.measurement_options import MeasurementOptions
from retain.recipe.module_names import with_names_listed
from retain.recipe.problem_words import problems_in_words
from retain.recipe.regularisation_options import RegularisationOptions
from retain.recipe.reserved_arguments import reserved_arguments
from retain.recipe.serving_options import ServingOptions
from retain.recipe.worker_options import WorkerOptions
from retain.records.recommended import Kind


class Recipe(
    MeasurementOptions,
    GoneOptions,
    CalibrationOptions,
    BudgetOptions,
    RegularisationOptions,
    LaunchOptions,
    WorkerOptions,
    ServingOptions,
):
    """The fields of a training, or of a comparison of trainings."""

    train: Annotated[str, Decides("data", inherited_by=("scale",)), Flag(COMMON, "DATA", place=3)] = Field(
        description="Training data, in the form of the test data."
    )

    method: Annotated[
        dict[str, Any], Decides("training", of_candidate=True), Flag(COMMON, "NAME", place=2, in_comparison="methods")
    ] = Field(
        default_factory=lambda: {"name": "vefa"},
        description=f"{table.names_listed()}, or any PEFT method by its type; its own fields as --method.FIELD VALUE.",
    )
    beta: Annotated[float | None, Decides("initialisation"), Flag("training", "β")] = Field(
        None, ge=0, le=1, description="sc-lora: weight of what must stay against what is to be learned. [0.8]"
    )
    statistics: Annotated[str | None, Decides("data", recorded=True), Flag("calibration", "FOLDER")] = Field(
        None, description="Activation second moments that `retain calibrate` wrote, to be used instead of new ones."
    )
    rank: Annotated[int | None, Decides("training", of_candidate=True, by_method=True), Flag(COMMON)] = Field(
        None, gt=0, description="Rank of the adapter, for methods that have one. [8; sc-lora 32]"
    )
    learning_rate: Annotated[
        float | None,
        Decides("training", of_candidate=True, argument="learning_rate", by_method=True),
        Flag(COMMON, in_comparison="learning_rates"),
    ] = Field(None, gt=0, description=f"Peak learning rate. [{table.learning_rates_listed()}]")
    head: Annotated[Literal["probe", "random"], Decides("training", recorded=True), Flag("training")] = Field(
        "probe",
        description="A classifier's new head. probe: fitted on the base's features, so that the base can be compared "
        "with; random: drawn.",
    )
    epochs: Annotated[
        float,
        Decides("training", of_candidate=True, recorded=True, argument="num_train_epochs", by_method=True),
        Flag(COMMON),
    ] = Field(3.0, gt=0, description="Passes over the training data.")
    max_steps: Annotated[
        int | None,
        Decides("training", of_candidate=True, recorded=True, argument="max_steps", by_method=True),
        Flag(COMMON),
    ] = Field(None, gt=0, description="Optimizer steps, instead of epochs.")
    batch_size: Annotated[
        int, Decides("training", recorded=True, argument="per_device_train_batch_size"), Flag(COMMON)
    ] = Field(8, gt=0, description="Examples in one optimizer step on one device.")
    seed: Annotated[int, Decides("training", argument="seed"), Flag(COMMON)] = Field(
        0, ge=0, le=LARGEST_SEED, description="Seed of the initialisation, of shuffling and of dropout."
    )
    training: Annotated[
        dict[str, Any], Decides("training", recorded=True, by_method=True), Flag("training", "FIELDS")
    ] = Field(
        default_factory=dict, description="Any other field of transformers.TrainingArguments: --training.FIELD VALUE."
    )
    send_report: Annotated[bool, Decides("nothing"), Flag("training")] = Field(
        default=True,
        description="Send the report, which shows items and answers, to the trackers of --training.report_to.",
    )

    accelerate: Annotated[
        bool,
        Decides("training", when="accelerate", recorded=True, of_candidate=True, by_method=True),
        Flag("training"),
    ] = Field(
        default=False,
        description="Train PEFT's LoRA layers in retain's fused form: less time and memory, the same to rounding.",
    )

    from_run: Annotated[str | None, Decides("nothing"), Flag(COMMON, "RUN", name="--from")] = Field(
        None,
        description="Go on from an earlier run: its result is the base, and what was kept or learned there is kept "
        "here, within its budget.",
    )

    methods: Annotated[tuple[str | dict[str, Any], ...], Decides("nothing"), Flag("comparison")] = Field(
        (),
        description="Methods to compare; in a recipe also {name, field: value}, with fields of the method, of "
        "regularisation and of the training, as {name: lora, replay: 0.25}.",
    )
    seeds: Annotated[int | tuple[int, ...], Decides("nothing"), Flag("comparison", "N|A,B,…")] = Field(
        1, description="How many seeds, or which."
    )
    learning_rates: Annotated[
        tuple[float, ...] | dict[str, tuple[float, ...]], Decides("nothing"), Flag("comparison")
    ] = Field((), description="Learning rates of every method; in a recipe also {method: [rates]}.")

    @field_validator("method", mode="before")
    @classmethod
    def _method_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else _numbers(value)

    @field_validator("training", mode="before")
    @classmethod
    def _numbers_in_training(cls, value: Any) -> Any:
        return _numbers(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if not isinstance(self.method.get("name"), str):
            problems.append("method has no name")
        problems += list_problems(self.methods, self.seed, self.seeds, self.learning_rates)
        if self.kl_weight == "budget" and KL not in self.budget:
            problems.append(
                f"KL penalty: budget needs a limit of {KL}, as --budget {KL}:0.1; or give the KL penalty's weight"
            )
        if self.kl_weight == "budget" and self.kl_on == "batch":
            problems.append(
                "KL penalty: budget follows the KL on text to keep; give the weight as a number with --kl-on batch"
            )
        if self.teacher_top and self.kl_weight and (self.kl_on != "batch" or not self.teacher or self.replay):
            problems.append(
                "teacher_top: the teacher is asked of the training data alone: give --teacher and --kl-on batch with "
                "it, and no --replay"
            )
        if self.kl_weight == "budget" and self.teacher:
            problems.append("KL penalty: budget limits the KL to the base; give the weight as a number with --teacher")
        reserved = reserved_arguments(Recipe)
        problems += [f"training.{name}: {reserved[name]}" for name in reserved if name in self.training]
        problems += [] if problems else self._own_value_problems()
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
        return with_names_listed({key: value for key, value in self.method.items() if key != "name"})

    @property
    def method_key(self) -> str:
        """The method with all its fields as one text: equal for runs that differ in rate, seed or replay only."""
        return json.dumps([self.method, self.rank, self.beta], sort_keys=True, default=str)

    @property
    def variant_key(self) -> str:
        """The same with all that an entry of `methods` may give: equal for runs that differ in rate or seed only."""
        names = [name for name in own_fields() if name not in {"rank", "learning_rate"}]
        given = {name: getattr(self, name) for name in names if name in self.model_fields_set}
        return json.dumps([self.method_key, given], sort_keys=True, default=str)

    def own_values(self) -> dict[str, Any]:
        """What is stated of the fields that an entry of `methods` may give, beside rank, rate, replay and steps."""
        apart = fields_where(Recipe, lambda decides: decides.by_method and decides.of_candidate)
        stated = self.model_dump(mode="json", include=set(own_fields()) - set(apart), exclude_unset=True)
        return {name: value for name, value in stated.items() if value not in (None, False, {}, 0)}

    @property
    def limits_training(self) -> bool:
        """True if the budget's limit of KL acts on the training, and not only on what is delivered."""
        return self.kl_weight == "budget" or (self.kl_monitor and KL in self.budget)

    @property
    def rate(self) -> float:
        """The learning rate: as given, or the method's starting point."""
        return self.learning_rate or table.learning_rate(self.method_name)

    def of_kind(self, kind: Kind) -> Self:
        """The recipe with the method's learning rate for a kind of model, where it gives none itself."""
        rate = table.learning_rate(self.method_name, kind)
        return self if self.learning_rate or rate == self.rate else self.model_copy(update={"learning_rate": rate})

    @property
    def generates_keep_text(self) -> bool:
        """True if the base generates the text to keep."""
        return super().generates_keep_text and self.statistics is None

    def recorded_fields(self, *, reads_text: bool) -> set[str]:
        """The names of the fields that the result states.

        Args:
            reads_text: whether the run read text to learn or to keep; if not, what concerns it is left out.
        """
        return {
            name
            for name in fields_where(Recipe, lambda decides: decides.recorded)
            if self._is_stated(name, decisions(Recipe)[name], reads_text=reads_text)
        }

    def _is_stated(self, name: str, marked: Decides, *, reads_text: bool) -> bool:
        """Tell whether the result states a field: one that was read, or that a regulariser was given."""
        if not marked.when:
            return reads_text or marked.part == "training"
        value = getattr(self, name)
        default = type(self).model_fields[name].get_default(call_default_factory=True)
        return bool(getattr(self, marked.when)) and value is not None and not (marked.later and value == default)

    def single(self) -> Recipe:
        """The one run of `retain tune`, whatever the recipe says of a comparison."""
        return self.model_copy(update=not_compared())

    def variants(self) -> list[Recipe]:
        """One of the single runs for each that differs from the others in more than rate and seed."""
        return list({run.variant_key: run for run in reversed(self.runs())}.values())[::-1]

    @property
    def reads_keep_text(self) -> bool:
        """True if a regulariser of one of its runs reads the text to keep."""
        return any(run.needs_keep_text for run in self.variants())

    def runs(self) -> list[Recipe]:
        """The single runs that `retain compare` consists of: every method at each of its rates with each seed."""
        runs = []
        for entry in self.methods or (self.method,):
            chosen = self.learning_rates
            rates = chosen.get(str(name_of(entry)), ()) if isinstance(chosen, dict) else chosen
            one = self.with_entry(entry)
            own_rate = isinstance(entry, dict) and "learning_rate" in entry
            runs += [
                one.model_copy(update={"learning_rate": rate, "seed": seed})
                for rate in (() if own_rate else rates) or (one.learning_rate,)
                for seed in seeds_of(self.seed, self.seeds)
            ]
        return runs

    def with_entry(self, entry: Entry) -> Self:
        """The single run of an entry of `methods`, with its own values of fields; of `training`, beside the recipe's.

        Raises:
            ValidationError: a value, or what it makes of the recipe, is refused.
        """
        method, own = _split(entry)
        if "training" in own and isinstance(own["training"], dict):
            own = own | {"training": {**self.training, **own["training"]}}
        given = {"method": method, **not_compared()}
        if own.keys() <= {"rank"}:
            return self.model_copy(update={**given, **own})
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **given, **own})

    def _own_value_problems(self) -> list[str]:
        """A sentence for each value of its own that an entry of `methods` cannot have."""
        problems = []
        for entry in self.methods:
            if isinstance(entry, dict) and name_of(entry):
                try:
                    self.with_entry(entry)
                except ValidationError as error:
                    found = problems_in_words(error.errors(), Recipe)
                    problems += [f"methods: {entry['name']}: {sentence.rstrip('.')}" for sentence in found]
        return problems


@cache
def own_fields() -> tuple[str, ...]:
    """The fields of which an entry of a comparison's `methods` may give its own values, beside the method's."""
    return fields_where(Recipe, lambda decides: decides.by_method)


def not_compared() -> dict[str, Any]:
    """The values that the fields of a comparison have in a single run: their defaults."""
    compared = flags_where(Recipe, lambda flag: flag.topic == "comparison")
    return {name: Recipe.model_fields[name].default for name in compared}


def _numbers(values: Any) -> Any:
    """YAML reads 1e-2 as text (it wants 1.0e-2); people mean the number."""
    if not isinstance(values, dict):
        return values
    return {key: float(value) if _looks_like_float(value) else value for key, value in values.items()}


def _looks_like_float(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) is not None


def _split(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """An entry of `methods`: the method with its own fields, and values of the recipe's fields."""
    given = {"name": entry} if isinstance(entry, str) else entry
    own = {name: value for name, value in given.items() if name in own_fields()}
    return {name: value for name, value in given.items() if name not in own}, own
