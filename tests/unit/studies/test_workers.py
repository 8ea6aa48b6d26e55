"""Workers of the benchmark: none quits while another's run may open further ones, and each run is done once."""

import argparse
import math
import threading
import time

import pytest
import run
from plan import Plan

RATES = (1e-4, 1e-3, 1e-2)
PLAN = Plan(
    tasks={"t": {"kind": "language"}, "s": {"kind": "language", "needs": "made-by-no-script", "make": ["none.py"]}},
    methods={"lora": {"rates": {"language": RATES}}},
    waves=({"tasks": ["t"], "methods": ["lora"]},),
    further_seeds=(1, 2),
)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.setattr(
        run, "best_rate", lambda *_: RATES[1] if len(list(tmp_path.glob("t/*-seed0.items.json"))) == 3 else None
    )
    return argparse.Namespace(task=[], runs=tmp_path / "runs", records=tmp_path, ends=math.inf, workers=4)


def workers(plan, asked):
    work = run.Work(plan, asked)
    work.all_go_on()
    return work


def recorder(asked, seen, after=lambda _: None):
    def done(_plan, cell, _asked):
        seen.append(cell.name)
        after(cell)
        (asked.records / cell.task).mkdir(exist_ok=True)
        (asked.records / cell.task / f"{cell.name}.items.json").touch()
        return True

    return done


def test_each_run_is_done_once_and_workers_wait_for_the_chosen_rate(asked, monkeypatch):
    seen, both = [], threading.Barrier(2)  # which breaks where one worker is left alone with the two

    def meet(cell):
        if cell.seed:
            both.wait(20)

    monkeypatch.setattr(run, "_recorded", recorder(asked, seen, meet))
    work = workers(PLAN, asked)
    assert len(seen) == len({*seen}) == PLAN.planned("t") == 5
    assert {name for name in seen if "seed0" not in name} == {"lora-lr0.001-seed1", "lora-lr0.001-seed2"}
    assert not work.failed


def test_a_task_that_is_being_made_leaves_the_other_workers_to_other_tasks(asked, monkeypatch):
    plan = Plan(PLAN.tasks, PLAN.methods, ({"tasks": ["s", "t"], "methods": ["lora"]},), ())
    seen, made = [], threading.Event()

    def making(_plan, task, _runs):
        if task == "s":
            assert made.wait(20), "nobody went on with the other task"
            return False
        return True

    monkeypatch.setattr(run, "_made", making)
    monkeypatch.setattr(run, "_recorded", recorder(asked, seen, lambda _: made.set()))
    work = workers(plan, asked)
    assert len(seen) == 3
    assert work.unmade == {"s"}


def test_nothing_is_begun_when_time_is_up(asked):
    asked.ends = time.monotonic() - 1
    assert run.Work(PLAN, asked).next() is None


def test_a_rate_once_chosen_stays_and_another_start_chooses_anew(asked, monkeypatch):
    (asked.records / "t").mkdir()
    for rate in RATES:
        (asked.records / "t" / f"lora-lr{rate:g}-seed0.items.json").touch()
    work = run.Work(PLAN, asked)
    for start, middle in ((work, RATES[1]), (work, RATES[1]), (run.Work(PLAN, asked), RATES[2])):
        cell, lock = start.next()
        lock.release()
        assert (cell.seed, cell.rate) == (1, middle)
        monkeypatch.setattr(run, "best_rate", lambda *_: RATES[2])
