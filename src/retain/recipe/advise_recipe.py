"""The recipe of `retain advise`: that of a training, and the bounds of the sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from retain.methods import table
from retain.recipe.comparison_lists import Entry
from retain.recipe.marks import Decides, Flag
from retain.recipe.tune_recipe import Recipe, own_fields
from retain.records.recommended import Best, Kind

SWEPT_METHODS = ("lora", "sc-lora", "vefa")
"""Methods that are tried where the recipe names none."""

FACTORS = (1 / 3, 1.0, 3.0)
"""Learning rates that are tried, as multiples of the recipe's or of the method's start."""


class AdviseRecipe(Recipe):
    """The fields of `retain advise`: those of `retain tune` or `retain compare`, and the bounds of the sweep."""

    sweep_steps: Annotated[int, Decides("nothing"), Flag("sweep")] = Field(
        12, gt=0, description="Optimizer steps of each candidate."
    )
    sweep_items: Annotated[int, Decides("nothing"), Flag("sweep")] = Field(
        24, gt=1, description="Training rows held out to measure a candidate's gain on; a third of them at most."
    )
    sweep_minutes: Annotated[float, Decides("nothing"), Flag("sweep")] = Field(
        10.0, gt=0, description="Minutes after which no further candidate is begun. The same command goes on."
    )
    replays: Annotated[tuple[float, ...], Decides("nothing"), Flag("sweep")] = Field(
        (0.0, 0.25), description="Shares of replay that are tried with the best candidate (language models only)."
    )

    @field_validator("replays", mode="before")
    @classmethod
    def _one_share(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _possible_sweep(self) -> Self:
        problems = []
        if any(not 0 <= share < 1 for share in self.replays):
            problems.append("replays: every share must be 0 or more and below 1")
        if not self.swept:
            problems.append("methods: full training changes the base itself, so a sweep cannot try it; name an adapter")
        if self.statistics is not None:
            problems.append("statistics: a sweep measures on the text to keep itself; give calibrate_keep instead")
        if self.run is not None:
            problems.append(
                "run: a sweep has no shares, since its later candidates follow from its first ones; spread it with "
                "--workers or --ray"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def reads_keep_text(self) -> bool:
        """True whatever is tried: how far a candidate moved is measured on it."""
        return True

    @property
    def swept(self) -> list[dict[str, Any]]:
        """The methods that are tried, each as {name, field: value}: those listed, or the usual and the recipe's."""
        entries = [
            {"name": entry} if isinstance(entry, str) else dict(entry) for entry in self.methods or SWEPT_METHODS
        ]
        if not self.methods and "method" in self.model_fields_set:
            names = [entry["name"] for entry in entries]
            place = names.index(self.method_name) if self.method_name in names else len(entries)
            entries[place : place + 1] = [{**self.method, "name": self.method_name}]
        return [entry for entry in entries if entry["name"] != "full"]

    def runs(self, kind: Kind | None = None, first: Best | None = None) -> list[Recipe]:
        """The candidates before replay is tried: of each entry its middle learning rate, then the other rates.

        The method that the benchmark's first is made of is tried at its learning rates as well, among the first: it
        would else be judged at a fraction of the rate, and what the rate does be put down to the combination.

        Args:
            kind: of model, whose learning rates the methods begin with. [those of all kinds]
            first: what the benchmark has first for it: tried beside the usual ones, where the recipe lists none. [none]
        """
        candidates = []
        for place, (entry, known) in enumerate(self._to_try(first)):
            one = self.single_of(entry)
            rates = self._rates(entry, kind, known)
            early = {rates[len(rates) // 2], *self._rates_beside(entry, known, first)}
            for rate in {*rates, *early}:
                run = one.model_copy(update={"learning_rate": rate, "seed": self._first_seed()})
                candidates.append(((rate not in early, place, rate), run))
        return [run for _, run in sorted(candidates, key=itemgetter(0))]

    def single_of(self, entry: Entry) -> Recipe:
        """The training of an entry of `methods`, without the bounds of the sweep.

        Raises:
            ValidationError: what the entry makes of the recipe is refused.
        """
        plain = Recipe.model_validate(self.model_dump(include=set(Recipe.model_fields), exclude_unset=True))
        return plain.with_entry(entry)

    def decided_otherwise(self, first: Best) -> list[str]:
        """The fields to which the recipe gives another value than the benchmark's first has.

        What a recipe states is kept, so such a combination is not tried.
        """
        stated = self.model_dump(include=set(first.fields), exclude_unset=True)
        if stated.get("method", {}).get("name") != first.fields["method"]["name"]:
            stated.pop("method", None)  # another method is no contradiction: it is tried as well
        return list(_differing(first.fields, stated))

    def _to_try(self, first: Best | None) -> list[tuple[dict[str, Any], tuple[float, ...]]]:
        """The entries that are tried, each with the learning rates that the benchmark begins it with, if any.

        The benchmark's first comes after LoRA, beside which it is judged. Where it is one of the usual methods, and
        nothing else, it takes that one's place.
        """
        entries: list[tuple[dict[str, Any], tuple[float, ...]]] = [(entry, ()) for entry in self.swept]
        if first is None or self.methods:
            return entries
        wanted = first.entry
        name, places = wanted["name"], [entry["name"] for entry, _ in entries]
        if name in places and not _combines(first):
            place = places.index(name)
            own = self.learning_rate is not None and name == self.method_name
            entries[place] = {**wanted, **entries[place][0]}, () if own else first.rates
        else:
            stated = self.method if "method" in self.model_fields_set and name == self.method_name else {}
            entries.insert(1, ({**stated, **wanted}, first.rates))
        return entries

    def _rates_beside(self, entry: dict[str, Any], known: tuple[float, ...], first: Best | None) -> tuple[float, ...]:
        """The learning rates of the benchmark's first, for the method alone that it combines."""
        if first is None or self.methods or self.learning_rates or known or not _combines(first):
            return ()
        return first.rates if entry["name"] == first.entry["name"] else ()

    def _rates(self, entry: dict[str, Any], kind: Kind | None, known: tuple[float, ...]) -> list[float]:
        """The learning rates that are tried with an entry, rising.

        Several that the recipe lists are taken as they are, and so are several of the benchmark's. One is tried with
        its third and its threefold, and so is the method's starting point where neither has one for it.
        """
        chosen, name = self.learning_rates, str(entry["name"])
        listed = tuple(chosen.get(name, ()) if isinstance(chosen, dict) else chosen)
        listed = listed or ((entry["learning_rate"],) if "learning_rate" in entry else known)
        if len(set(listed)) > 1:
            return sorted(set(listed))
        own = bool(self.methods) or name == self.method_name
        stated = listed[0] if listed else (self.learning_rate if own else None)
        centre = stated or table.learning_rate(name, kind)
        return [float(f"{centre * factor:.2g}") if factor != 1 else centre for factor in FACTORS]

    def _first_seed(self) -> int:
        return self.seed if isinstance(self.seeds, int) else self.seeds[0]


def _combines(first: Best) -> bool:
    """True where the benchmark's first is more than a method: with regularisers, or settings of the training."""
    return bool(set(first.fields) & (set(own_fields()) - {"rank"}))


def _differing(wanted: Mapping[str, Any], stated: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """The names under which both have a value, and not the same."""
    for name, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(stated.get(name), Mapping):
            yield from _differing(value, stated[name], f"{within}{name}.")
        elif name in stated and stated[name] != value:
            yield f"{within}{name}"
