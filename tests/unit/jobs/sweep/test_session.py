"""The candidates of a sweep: none is trained twice, time bounds them, and the base must be the base at the end."""

import time

import pytest
import torch
from rich.console import Console

from retain.errors import RetainError
from retain.hf.models.describe import model_hash
from retain.jobs.sweep.session import Session, outcome_of, title_of
from retain.recipe import Recipe
from retain.records.sweep_record import Candidate, Point

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}
RUNS = [Recipe(**BASIC, method="lora", learning_rate=rate) for rate in (1e-3, 1e-2, 1e-1)]


def candidate(run, failed=None):
    points = () if failed else (Point(alpha=1.0, loss=1.0, gain=0.25, gain_error=0.1, kl=0.0123),)
    return Candidate(method=run.method_name, learning_rate=run.rate, step_seconds=0.5, points=points, failed=failed)


class Bench:
    """Stands for the bench: counts what it trains."""

    def __init__(self, failing=()):
        self.base, self.trained, self.failing = torch.nn.Linear(2, 2), [], failing

    def candidate(self, run, key, events):
        self.trained.append(run.rate)
        return candidate(run, "diverged" if run.rate in self.failing else None)

    def bare(self, events):
        return self.base


@pytest.fixture
def session(tmp_path):
    def make(bench, context="c"):
        return Session(bench, context, model_hash(bench.base), tmp_path, Console(quiet=True))

    return make


def test_what_was_trained_is_read_again(session):
    first, second = Bench(), Bench()
    for bench in (first, second):
        made = session(bench)
        made.go_through(RUNS, time.monotonic() + 99)
        assert made.candidates == [candidate(run) for run in RUNS]
        assert made.recipes == RUNS
    assert (first.trained, second.trained) == ([1e-3, 1e-2, 1e-1], [])


def test_another_context_or_a_failure_is_trained_again(session):
    first, other, again = Bench(failing=(1e-2,)), Bench(), Bench()
    session(first).go_through(RUNS, time.monotonic() + 99)
    session(other, context="d").go_through(RUNS, time.monotonic() + 99)
    session(again).go_through(RUNS, time.monotonic() + 99)
    assert (len(other.trained), again.trained) == (3, [1e-2])


def test_a_candidate_is_known_by_all_that_it_brings(session):
    runs = [RUNS[0], *(RUNS[0].model_copy(update=own) for own in ({"kl_weight": 3.0}, {"ewc": 3.0}, {"replay": 0.5}))]
    bench = Bench()
    made = session(bench)
    made.go_through(runs, time.monotonic() + 99)
    assert len(bench.trained) == len({made.key_of(run) for run in runs}) == 4
    assert made.key_of(runs[0].model_copy(update={"epochs": 9.0})) == made.key_of(runs[0])  # a sweep has its own steps
    limited = runs[1].model_copy(update={"kl_weight": "budget", "budget": {"kl": 0.1}})
    assert made.key_of(limited) != made.key_of(limited.model_copy(update={"budget": {"kl": 0.2}}))
    free = RUNS[0].model_copy(update={"budget": {"kl": 0.1}})  # whose limit acts on what is delivered
    assert made.key_of(free) == made.key_of(RUNS[0])


def test_a_damaged_file_is_trained_again(session, tmp_path):
    session(Bench()).go_through(RUNS[:1], time.monotonic() + 99)
    (file,) = tmp_path.glob("candidate-*.json")
    file.write_text("{", encoding="utf-8")
    bench = Bench()
    session(bench).go_through(RUNS[:1], time.monotonic() + 99)
    assert bench.trained == [1e-3]


def test_after_the_time_each_command_gets_one_further(session):
    for done in range(3):
        made = session(Bench())
        made.go_through(RUNS, time.monotonic() - 1)
        assert len(made.candidates) == done + 1
        assert made.untried == [title_of(run) for run in RUNS[done + 1 :]]


def test_a_changed_base_is_an_error(session):
    bench = Bench()
    made = session(bench)
    made.close()
    with torch.no_grad():
        bench.base.weight[0, 0] += 1
    with pytest.raises(RetainError, match="base changed"):
        made.close()


def test_candidates_in_words():
    assert title_of(RUNS[0]) == "lora at 1e-3"
    assert title_of(RUNS[0].model_copy(update={"replay": 0.25})) == "lora at 1e-3 with 25% replay"
    penalised = RUNS[0].model_copy(update={"kl_weight": 3.0, "training": {"weight_decay": 1.0}})
    assert title_of(penalised) == "lora + KL penalty 3 at 1e-3"
    assert outcome_of(candidate(RUNS[0])) == "gain +0.250, KL 0.0123 nats, 0.5 s a step"
    assert outcome_of(candidate(RUNS[0], "diverged")) == "failed: diverged"
