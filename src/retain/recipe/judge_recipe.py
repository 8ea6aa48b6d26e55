"""The recipe of `retain judge`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from retain.recipe.gone_options import GoneMargin
from retain.recipe.marks import COMMON, Decides, Flag
from retain.recipe.measurement_options import split_by_commas
from retain.recipe.verdict_options import JUnitOption, VerdictOptions

ALL = ""
"""The suite under which stands what is said of all of them."""


class JudgeRecipe(JUnitOption, VerdictOptions, GoneMargin):
    """The fields of `retain judge`."""

    base: Annotated[str, Decides("data"), Flag(COMMON, "LOG", place=1)] = Field(
        description="Log of the base: an output folder of lm-evaluation-harness (--log_samples), a log of inspect_ai "
        "(or a folder of them), rows of {id, correct|score|prediction and label} as JSONL, CSV or Parquet, or a run of "
        "retain."
    )
    tuned: Annotated[str, Decides("data"), Flag(COMMON, "LOG", place=2)] = Field(
        description="Log of the tuned model on the same items, of the same program."
    )
    task: Annotated[tuple[str, ...], Decides("items"), Flag(COMMON, "SUITE", place=3)] = Field(
        (), description="Suites of the task that was learned; all others are retention suites. [none]"
    )
    gone: Annotated[tuple[str, ...], Decides("items"), Flag(COMMON, "SUITE", place=3)] = Field(
        (), description="Suites of what should be gone; they are neither task nor retention suites. [none]"
    )
    suites: Annotated[tuple[str, ...], Decides("items"), Flag(COMMON, "SUITE", place=4)] = Field(
        (), description="Suites that are judged, those of the task among them. [all]"
    )
    output: Annotated[str | None, Decides("nothing"), Flag(COMMON, "FOLDER", place=5)] = Field(
        None, description="Folder for the record and the page. [none: the verdict is printed]"
    )
    metric: Annotated[dict[str, str], Decides("measuring"), Flag("logs", "[SUITE:]METRIC")] = Field(
        default_factory=dict,
        description="Metric that judges a suite, or every suite that has it, as gsm8k:exact_match,strict-match. [the "
        "first that the log names]",
    )
    chance: Annotated[dict[str, float], Decides("measuring"), Flag("logs", "[SUITE:]SHARE")] = Field(
        default_factory=dict,
        description="Share of a suite, or of all, that guessing gets right, where the log does not tell: 0.25 of four "
        "choices. [as far as options and right answers tell]",
    )
    range: Annotated[dict[str, tuple[float, float]], Decides("measuring"), Flag("logs", "METRIC:LOW:HIGH")] = Field(
        default_factory=dict,
        description="Smallest and largest value of a metric, as score:1:5; without it no loss of a metric that retain "
        "does not know can be called small.",
    )
    lower_is_better: Annotated[tuple[str, ...], Decides("measuring"), Flag("logs", "METRIC")] = Field(
        (), description="Metrics of which less is better, where the log does not say so."
    )
    pool: Annotated[dict[str, tuple[str, ...]], Decides("items"), Flag("logs", "NAME[=SUITE,…]")] = Field(
        default_factory=dict,
        description="Suites that are judged as one: a group of lm-evaluation-harness by its name, as mmlu, or any, as "
        "mine=first,second.",
    )
    intersection: Annotated[bool, Decides("items"), Flag("logs")] = Field(
        default=False,
        description="Judge only the items that both sides have, instead of refusing; the verdict says how many were "
        "left out.",
    )

    @field_validator("base", "tuned", mode="after")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected the place of a log, which is not blank")
        return value

    @field_validator("task", "gone", "suites", "lower_is_better", mode="before")
    @classmethod
    def _names_by_commas(cls, value: Any) -> Any:
        return split_by_commas(value)

    @model_validator(mode="after")
    def _one_part_each(self) -> Self:
        if both := [name for name in self.gone if name in self.task]:
            raise ValueError(f"gone: {both[0]} is a suite of the task, too; name it in one of both")
        return self

    @field_validator("metric", mode="before")
    @classmethod
    def _metric_of_suite(cls, value: Any) -> Any:
        """SUITE:METRIC, or METRIC alone for every suite that has it."""
        entries = _entries(value)
        return value if entries is None else _once(map(_pair, entries))

    @field_validator("chance", mode="before")
    @classmethod
    def _chance_of_suite(cls, value: Any) -> Any:
        """SUITE:SHARE, or SHARE alone for all."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {ALL: value}
        entries = _entries(value)
        return value if entries is None else _once(map(_pair, entries))

    @field_validator("pool", mode="before")
    @classmethod
    def _pool_of_suites(cls, value: Any) -> Any:
        """NAME for a group that the log has, or NAME=SUITE,SUITE."""
        entries = _entries(value)
        if entries is None:
            return value
        parts = [entry.partition("=") for entry in entries]
        return _once((name, split_by_commas(suites)) for name, _, suites in parts)

    @field_validator("pool", mode="after")
    @classmethod
    def _pools_apart(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if not all(name.strip() for name in value):
            raise ValueError("expected NAME=SUITE,SUITE, with a name before the sign")
        suites = [suite for given in value.values() for suite in dict.fromkeys(given)]
        if twice := [suite for suite in dict.fromkeys(suites) if suites.count(suite) > 1]:
            raise ValueError(f"{twice[0]} is in two pools")
        return {name: tuple(dict.fromkeys(given)) for name, given in value.items()}

    @field_validator("chance", mode="after")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if odd := [share for share in value.values() if not 0 <= share < 1]:
            raise ValueError(f"expected shares from 0 to below 1, found {odd[0]:g}")
        return value

    @field_validator("range", mode="before")
    @classmethod
    def _range_of_metric(cls, value: Any) -> Any:
        """METRIC:LOW:HIGH."""
        entries = _entries(value)
        if entries is None:
            return value
        parts = [entry.rsplit(":", 2) for entry in entries]
        if any(len(part) < 3 for part in parts):
            raise ValueError("expected METRIC:LOW:HIGH, as score:1:5")
        return _once((name, (low, high)) for name, low, high in parts)

    @field_validator("range", mode="after")
    @classmethod
    def _not_empty(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        if odd := [name for name, (low, high) in value.items() if low >= high]:
            raise ValueError(f"the range of {odd[0]} is empty: give the smaller value first")
        return value


def _entries(value: Any) -> list[str] | None:
    """Entries as a flag or a list in a recipe gives them; None for a mapping or anything else."""
    given = [value] if isinstance(value, str) else value
    return list(given) if isinstance(given, (list, tuple)) and all(isinstance(one, str) for one in given) else None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as a mapping.

    Raises:
        ValueError: something is said twice.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            what = f"for {name}" if name else "for all suites"
            raise ValueError(f"two values {what}, {_shown(found[name])} and {_shown(value)}; say one")
        found[name] = value
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(map(str, value))


def _pair(entry: str) -> tuple[str, str]:
    """What stands before the last colon, and what behind it."""
    name, _, value = entry.rpartition(":")
    return name, value
