"""The candidates of one sweep: each is trained once, whatever interrupts it, within a bound of time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from retain.compare.training_labels import combination
from retain.errors import RetainError
from retain.events import Events
from retain.hf.models.describe import model_hash
from retain.jobs.progress import showing_progress, showing_runs
from retain.jobs.state_files import key_of, read_or_none, rewrite
from retain.jobs.sweep.bench import Bench, facts_of
from retain.jobs.workers.executor import Executor, InThisProcess, Listener, spread
from retain.jobs.workers.unit import Unit
from retain.jobs.workers.work import Work
from retain.recipe import KL, Recipe
from retain.recipe.marks import fields_where
from retain.records import numbers
from retain.records.checkpoint_seal import remove_checkpoints
from retain.records.files import remove_if_empty
from retain.records.sweep_record import Candidate

Workers = Callable[[int, Listener, Work], AbstractContextManager[Executor]]


@dataclass
class Session:
    """The candidates of one sweep, in the order they were tried, and those that time did not allow.

    Attributes:
        bench: trains and measures them.
        context: a hash of all that they have in common.
        base_hash: a hash of the base's weights at the beginning.
        folder: receives a file for each, so that none is trained twice.
        console: receives a line for each.
        workers: who tries them, by their number, a listener and what tries one here. [one after another, here]
        begun: how many this command has begun.
        told: how many it has told of.
        candidates: the measured ones.
        recipes: their recipes.
        untried: titles of those that time did not allow.
    """

    bench: Bench
    context: str
    base_hash: str
    folder: Path
    console: Console
    workers: Workers | None = None
    begun: int = 0
    told: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)

    def go_through(self, runs: Sequence[Recipe], until: float) -> None:
        """Train and measure each candidate that has no file yet.

        After a time (of `time.monotonic`) only the first missing one is begun, so each command gets further.
        """
        keys = [self.key_of(run) for run in runs]
        found = {place: known for place, key in enumerate(keys) if (known := self._known(key)) is not None}
        for place, known in found.items():
            self._tell(runs[place], known)
        missing = [place for place in range(len(runs)) if place not in found]
        units = [candidate_unit(place, runs[place], keys[place]) for place in missing]
        found |= self._tried(runs, keys, units, until) if units else {}
        for place, run in enumerate(runs):
            if place in found:
                self.candidates.append(found[place])
                self.recipes.append(run)
            else:
                self.untried.append(title_of(run))

    def _tried(
        self, runs: Sequence[Recipe], keys: Sequence[str], units: Sequence[Unit], until: float
    ) -> dict[int, Candidate]:
        """Have candidates tried, by their places; those that time did not allow are missing."""

        def here(unit: Unit, events: Events) -> str:
            return self.bench.candidate(runs[unit.number], keys[unit.number], events).model_dump_json()

        def may_begin() -> bool:
            allowed = not self.begun or time.monotonic() < until
            self.begun += allowed
            return allowed

        found: dict[int, Candidate] = {}
        with showing_runs(self.console, len(units)) as shown:
            listen = lambda unit, event: shown.at(unit.name, event)  # noqa: E731 -- an adapter of two words
            executor = InThisProcess(here, listen) if self.workers is None else self.workers(len(units), listen, here)
            with executor as workers:
                for unit, outcome in spread(units, workers, self._say, may_begin=may_begin):
                    shown.over(unit.name)
                    if outcome.state == "not begun":
                        continue
                    place, run = unit.number, runs[unit.number]
                    if outcome.state == "done":
                        found[place] = Candidate.model_validate_json(outcome.text)
                    else:
                        found[place] = Candidate(**facts_of(run), failed=outcome.text)
                    self._keep(keys[place], found[place])
                    self._tell(run, found[place])
        return found

    def key_of(self, run: Recipe) -> str:
        """The name of a candidate's file: a hash of all that decides its numbers."""
        own = run.model_dump(mode="json", include=set(candidate_fields()))
        limit = run.budget.get(KL) if run.limits_training else None
        return key_of(self.context, run.method, run.rank, run.beta, run.rate, run.replay or 0.0, own, limit)

    def _keep(self, key: str, candidate: Candidate) -> None:
        if not candidate.failed:
            rewrite(self._file(key), candidate.model_dump_json(indent=2) + "\n")
        remove_checkpoints(self.folder / key / "checkpoints")
        remove_if_empty(self.folder / key)

    def _tell(self, run: Recipe, candidate: Candidate) -> None:
        self.told += 1
        self._say(f"{self.told}  {title_of(run)}: {outcome_of(candidate)}")

    def _say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Check at the end that the base is unchanged.

        Raises:
            RetainError: it is not, so the numbers cannot be used.
        """
        with showing_progress(self.console) as events:
            base = self.bench.bare(events)
        if model_hash(base) != self.base_hash:
            raise RetainError("the base changed during the sweep, so its numbers cannot be used; please report this.")

    def _known(self, key: str) -> Candidate | None:
        return read_or_none(self._file(key), Candidate)

    def _file(self, key: str) -> Path:
        return self.folder / f"candidate-{key}.json"


def candidate_unit(place: int, run: Recipe, key: str) -> Unit:
    """A candidate as a unit of work; a worker reads its recipe, and whether it finds the same key."""
    work = json.dumps({"recipe": run.model_dump(mode="json", exclude_unset=True), "key": key})
    return Unit(number=place, name=title_of(run), work=work)


def candidate_fields() -> tuple[str, ...]:
    """The fields of regularisation and training that each candidate of a sweep may bring itself."""
    return fields_where(Recipe, lambda decides: decides.by_method and not decides.of_candidate)


def title_of(run: Recipe) -> str:
    """A candidate in a few words: its method, regularisers, learning rate and replay."""
    replay = f" with {100 * run.replay:g}% replay" if run.replay else ""
    name = combination(run.method_name, {key: value for key, value in run.own_values().items() if key != "training"})
    return f"{name} at {numbers.learning_rate(run.rate)}{replay}"


def outcome_of(candidate: Candidate) -> str:
    """A candidate's gain, KL and seconds a step, or the reason of its failure."""
    if candidate.failed:
        return f"failed: {candidate.failed}"
    full = candidate.points[-1]
    gain = numbers.signed(full.gain, numbers.NATS)
    return f"gain {gain}, KL {full.kl:.3g} nats, {candidate.step_seconds:.2g} s a step"
