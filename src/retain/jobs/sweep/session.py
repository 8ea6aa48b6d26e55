"""The candidates of one sweep: each is trained once, whatever interrupts it, within a bound of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from retain.errors import RetainError
from retain.hf.models.describe import model_hash
from retain.jobs.progress import showing_progress
from retain.jobs.state_files import key_of, read_or_none, rewrite
from retain.jobs.sweep.bench import Bench
from retain.recipe import Recipe
from retain.records import numbers
from retain.records.checkpoint_seal import remove_checkpoints
from retain.records.files import remove_if_empty
from retain.records.sweep_record import Candidate


@dataclass
class Session:
    """The candidates of one sweep, in the order they were tried, and those that time did not allow.

    Attributes:
        bench: trains and measures them.
        context: a hash of all that they have in common.
        base_hash: a hash of the base's weights at the beginning.
        folder: receives a file for each, so that none is trained twice.
        console: receives a line for each.
        begun: how many this command has trained.
        candidates: the measured ones.
        recipes: their recipes.
        untried: titles of those that time did not allow.
    """

    bench: Bench
    context: str
    base_hash: str
    folder: Path
    console: Console
    begun: int = 0
    candidates: list[Candidate] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)

    def go_through(self, runs: Sequence[Recipe], until: float) -> None:
        """Train and measure each candidate that has no file yet.

        After a time (of `time.monotonic`) only the first missing one is begun, so each command gets further.
        """
        for run in runs:
            key = key_of(self.context, run.method, run.rank, run.beta, run.rate, run.replay or 0.0)
            candidate = self._known(key)
            if candidate is None and self.begun and time.monotonic() >= until:
                self.untried.append(title_of(run))
                continue
            if candidate is None:
                self.begun += 1
                with showing_progress(self.console) as events:
                    candidate = self.bench.candidate(run, key, events)
                if not candidate.failed:
                    rewrite(self._file(key), candidate.model_dump_json(indent=2) + "\n")
                remove_checkpoints(self.folder / key / "checkpoints")
                remove_if_empty(self.folder / key)
            self.candidates.append(candidate)
            self.recipes.append(run)
            self.console.print(
                f"{len(self.candidates)}  {title_of(run)}: {outcome_of(candidate)}", markup=False, soft_wrap=True
            )

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


def title_of(run: Recipe) -> str:
    """A candidate in a few words: its method, learning rate and replay."""
    replay = f" with {100 * run.replay:g}% replay" if run.replay else ""
    return f"{run.method_name} at {numbers.learning_rate(run.rate)}{replay}"


def outcome_of(candidate: Candidate) -> str:
    """A candidate's gain, KL and seconds a step, or the reason of its failure."""
    if candidate.failed:
        return f"failed: {candidate.failed}"
    full = candidate.points[-1]
    gain = numbers.signed(full.gain, numbers.NATS)
    return f"gain {gain}, KL {full.kl:.3g} nats, {candidate.step_seconds:.2g} s a step"
