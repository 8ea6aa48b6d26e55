"""What `retain tune` and `retain compare` are told: what to train, on what, how, and what to measure."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from retain.methods import table
from retain.recipe.calibrate_recipe import Calibrating
from retain.recipe.control_recipe import KL, Controlling, Regularisation
from retain.recipe.measure_recipe import Measuring


class Recipe(Measuring, Calibrating, Controlling, Regularisation):
    """What `retain tune` and `retain compare` are told: what to train, on what, how, and what to measure."""

    train: str = Field(description="Data to learn, in the shape of the test data.")

    method: dict[str, Any] = Field(
        default_factory=lambda: {"name": "vefa"},
        description=f"{table.names_listed()}, or any PEFT method by its type; its own fields as --method.FIELD VALUE.",
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
        description=f"Peak learning rate. [the method's default: {table.learning_rates_listed()}]",
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

    accelerate: bool = Field(
        default=False,
        description="Train PEFT's own LoRA layers in retain's fused form: less time and memory, the same to rounding. "
        "retain's methods need no such switch.",
    )

    from_run: str | None = Field(
        None,
        description="Go on from what an earlier run delivered (its folder): its model is the base, and all that was "
        "kept or learned there is kept here, within its budget.",
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
        if self.kl_weight == "budget" and KL not in self.budget:
            problems.append(
                f"KL penalty: budget needs a limit of {KL}, as --budget {KL}:0.1; or give the KL penalty's weight"
            )
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
    def limits_training(self) -> bool:
        """Whether the budget's limit of KL acts on the training, and not only on what is delivered."""
        return self.kl_weight == "budget" or (self.kl_monitor and KL in self.budget)

    @property
    def rate(self) -> float:
        """The learning rate: as given, or the method's default."""
        return self.learning_rate or table.learning_rate(self.method_name)

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


def _numbers(values: Any) -> Any:
    """YAML reads 1e-2 as text (it wants 1.0e-2); people mean the number."""
    if not isinstance(values, dict):
        return values
    return {key: float(value) if _looks_like_float(value) else value for key, value in values.items()}


def _looks_like_float(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) is not None


def _name(entry: str | dict[str, Any]) -> str | None:
    return entry if isinstance(entry, str) else entry.get("name")
