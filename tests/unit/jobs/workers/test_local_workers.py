"""Worker processes: many units of no work by few processes; one that is killed is lost, and no other."""

import os
import signal

from retain.jobs.workers.executor import spread
from retain.jobs.workers.local import LocalWorkers, shared_threads, visible_gpus
from retain.jobs.workers.unit import Setup, Unit

NOTHING = Setup(kind="nothing", recipe="")


def test_few_processes_do_many_units_and_nothing_is_kept_of_each():
    units = [Unit(number=number, name=f"run-{number}", work=f"text {number}") for number in range(120)]
    with LocalWorkers(NOTHING, 2, lambda *_: None, print) as workers:
        found, processes = {}, set()
        for unit, outcome in spread(units, workers, print):
            found[unit.number] = outcome.text
            processes |= {worker.process.pid for worker in workers._workers if worker is not None}
            assert sum(worker.unit is not None for worker in workers._workers if worker is not None) <= 2
        assert found == {number: f"text {number}" for number in range(120)}
        assert len(processes) == 2
    assert not any(_lives(process) for process in processes)


def test_a_worker_that_is_killed_loses_its_unit_and_another_takes_its_place():
    units = [Unit(number=number, name=f"run-{number}") for number in range(6)]
    told, killed = [], []
    with LocalWorkers(NOTHING, 1, lambda *_: None, print) as workers:
        for unit, outcome in spread(units, workers, told.append):
            assert outcome.state == "done"
            if unit.number == 2:
                worker = workers._workers[0]
                killed.append(worker.process.pid)
                os.kill(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
        assert workers._workers[0].process.pid not in killed
    assert "killed by signal 9" in told[0]


def test_processors_and_gpus_are_shared_out(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [shared_threads(places) for places in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert shared_threads(2) is None, "the environment says it already, and says it to all"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    assert visible_gpus(2) == ["2", "GPU-5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert (visible_gpus(2), visible_gpus(0)) == (["0", "1"], [])


def _lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
