"""The benchmark's plan: which runs there are, in which order, and what each is given. Plain values; no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
LORA, SC_LORA = "lora", "sc-lora"
BETWEEN = "lora-between"
"""LoRA at rates between those of its sweep."""
PLAN = HERE / "plan.yaml"
TOLD_APART = 10
"""Methods that can be told apart in one picture."""


@dataclass(frozen=True)
class Cell:
    """One run: a method on a task at a learning rate with a seed."""

    task: str
    method: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Its name, of the run's folder and of its record."""
        return f"{self.method}-lr{self.rate:g}-seed{self.seed}"


@dataclass(frozen=True)
class Picture:
    """A figure of a task.

    Attributes:
        file: its name.
        about: what its methods have in common; empty where all are in it.
        methods: that it shows.
    """

    file: str
    about: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The file `plan.yaml`, read."""

    tasks: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, Mapping[str, Any]]
    waves: Sequence[Mapping[str, Any]]
    further_seeds: Sequence[int]
    every_rate_seeds: Sequence[int] = ()
    pictures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def rates(self, task: str, method: str) -> list[float]:
        """The learning rates of a method on a task, rising."""
        return [float(rate) for rate in self.methods[method]["rates"][self.tasks[task]["kind"]]]

    def title(self, method: str) -> str:
        """A method as the page names it."""
        return str(self.methods[method]["title"])

    def is_after(self, method: str) -> bool:
        """True for a method that changes what LoRA's runs left."""
        return "after" in self.methods[method]

    def needs(self, cell: Cell, rate: float | None) -> Cell | None:
        """The run of LoRA that a method of this kind changes, at LoRA's chosen rate; None where that is not chosen."""
        return None if rate is None else Cell(cell.task, LORA, rate, cell.seed)

    def sweep(self, task: str, method: str) -> list[Cell]:
        """The runs of a method that choose its learning rate: the middle rate first."""
        rates = self.rates(task, method)
        middle = rates.pop(len(rates) // 2)
        return [Cell(task, method, rate, 0) for rate in (middle, *rates)]

    def end_of_sweep(self, task: str, method: str, rate: float) -> str:
        """An arrow where a rate is the highest or the lowest of a sweep, so that a better one may lie beyond."""
        rates = self.rates(task, method)
        return {rates[-1]: "↑", rates[0]: "↓"}.get(rate, "") if len(rates) > 2 else ""

    def of_seed(self, task: str, method: str, rate: float, seed: int, *, every_rate: bool) -> list[Cell]:
        """The runs of a further seed: at the rate that was chosen, and at the others where these have it too."""
        more = every_rate and seed in self.every_rate_seeds
        others = [other for other in self.rates(task, method) if other != rate] if more else []
        return [Cell(task, method, one, seed) for one in (rate, *others)]

    def pictures_of(self, task: str, shown: Sequence[str]) -> list[Picture]:
        """The pictures of a task: one with all methods that are shown, or one a group where these are too many."""
        if len(shown) <= TOLD_APART:
            return [Picture(f"{task}.png", "", tuple(shown))]
        found = []
        for group, entry in self.pictures.items():
            own = [name for name in shown if name in entry["methods"]]
            first = [name for name in (LORA, SC_LORA) if name in shown]
            found += [Picture(f"{task}-{group}.png", str(entry["about"]), (*first, *own))] if own else []
        return found

    @property
    def main(self) -> Plan:
        """The plan without its further waves, which are for whoever has more time or a GPU."""
        return replace(self, waves=[wave for wave in self.waves if not wave.get("further")])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every task with every method that the waves name, once each, in their order."""
        found = [(task, method) for wave in self.waves for task in wave["tasks"] for method in wave["methods"]]
        return list(dict.fromkeys(found))

    def planned(self, task: str) -> int:
        """How many runs a task has in all."""
        chosen = sum(len(self.rates(*pair)) + len(self.further_seeds) for pair in self.pairs if pair[0] == task)
        others = sum(len(self.rates(*pair)) - 1 for pair in {*self.at_every_rate} if pair[0] == task)
        return chosen + others * len(self.every_rate_seeds)

    @property
    def at_every_rate(self) -> list[tuple[str, str]]:
        """The tasks and methods that get seeds at the rates that were not chosen as well."""
        waves = [wave for wave in self.waves if wave.get("every_rate")]
        return [(task, method) for wave in waves for task in wave["tasks"] for method in wave["methods"]]

    def cells(self, best: Callable[[str, str], float | None]) -> Iterator[Cell]:
        """The runs in their order: of a wave the sweeps, then a seed of every method after the other.

        So whatever is there when time is up has as many seeds of one method as of another. A method's seeds come once
        its rate is chosen, which is asked at that moment.

        Args:
            best: the chosen learning rate of a method on a task, from the runs so far; None while they are not there.
        """
        for wave in self.waves:
            every_rate = bool(wave.get("every_rate"))
            for task in wave["tasks"]:
                for method in wave["methods"]:
                    yield from self.sweep(task, method)
                for seed, method in product(self.further_seeds, wave["methods"]):
                    rate = best(task, method)
                    if rate is not None:
                        yield from self.of_seed(task, method, rate, seed, every_rate=every_rate)


def read_plan(path: Path = PLAN) -> Plan:
    """Read `plan.yaml`."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Plan(**{each.name: values[each.name] for each in fields(Plan)})


def overrides(plan: Plan, cell: Cell, steps: int | None) -> dict[str, Any]:
    """The recipe's fields of one run, to be laid over the task's recipe.

    Args:
        plan: says what the method is.
        cell: the run.
        steps: of the task's recipe, of which a method may take a share.
    """
    entry = plan.methods[cell.method]
    share = entry.get("steps")
    fewer = {"max_steps": max(round(steps * share), 1)} if share and steps else {}
    own = entry.get("of", {}).get(plan.tasks[cell.task]["kind"], {})
    return {**entry["recipe"], **own, **fewer, "learning_rate": cell.rate, "seed": cell.seed}
