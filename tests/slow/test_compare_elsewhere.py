"""Workers that do not see the command's folder, Ctrl-C over several workers, a sweep by workers: bigger proofs.

All seven passed on 29 November 2026 on two cores shared with nine other processes, in some 20 minutes.
"""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from retain.cli.main import main
from retain.jobs.progress import RunsProgress
from spread_runs import alike, local_cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def words(tiny_folder, tiny_data, tmp_path):
    def make(output, *more, verb="compare", **fields):
        values = {
            "model": str(tiny_folder), "train": str(tiny_data / "train.jsonl"), "test": str(tiny_data / "test.jsonl"),
            "keep": [str(tiny_data / "letters.jsonl")], "held_out_text": [str(tiny_data / "text.txt")],
            "methods": ["lora", "sc-lora"], "max_steps": 3, "generate": 0, "drift": False, "rank": 2,
            "calibrate_tokens": 300, "max_length": 64, "cpus_per_run": 1, **fields,
        }  # fmt: skip
        recipe = tmp_path / f"{verb}.yaml"
        recipe.write_text(yaml.safe_dump(values), encoding="utf-8")
        return [verb, str(recipe), "--output", str(output), *more]

    return make


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with local_cluster(tmp_path_factory.mktemp("ray") / "log") as address:
        yield address


def test_where_no_machine_sees_the_folder_files_travel_and_nothing_is_made_twice(words, cluster, tmp_path, monkeypatch):
    from retain.jobs.workers.on_ray import RayWorkers

    begun, at = [], RunsProgress.at

    def listen(self, run, event):
        begun.append((event.name, event.done))
        at(self, run, event)

    assert main(words(tmp_path / "serial", seeds=2)) == 0
    monkeypatch.setattr(RunsProgress, "at", listen)
    monkeypatch.setattr(RayWorkers, "_is_shared", lambda self: False)
    assert main(words(tmp_path / "sent", "--ray", cluster, seeds=2)) == 0
    assert alike(tmp_path / "serial", tmp_path / "sent") == []
    names = [name for name, done in begun if done == 0]
    assert names.count("the base answers") == names.count("the base writes what it knows") == 1
    assert main(words(tmp_path / "sent", seeds=2)) == 0


@pytest.mark.parametrize("by", ["workers", "ray"])
def test_ctrl_c_ends_all_workers_with_their_checkpoints_and_the_same_command_goes_on(words, cluster, tmp_path, by):
    where = ["--workers", "2"] if by == "workers" else ["--ray", cluster]
    given = words(tmp_path / "out", *where, seeds=2, methods=["lora"], max_steps=400)
    process = subprocess.Popen(
        [sys.executable, "-m", "retain.cli.main", *given], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until, runs = time.monotonic() + 300, tmp_path / "out" / "runs"
    while (time.monotonic() < until and len(list(runs.glob("*/recipe.json"))) < 2) or not list(
        (tmp_path / "out").glob("base-*")
    ):
        time.sleep(0.1)
    time.sleep(4)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert list(runs.glob("*/checkpoints/checkpoint-*/retain_checkpoint.json")), said
    assert not list(runs.glob("*/.retain.lock"))
    assert main(given) == 0
    assert main(words(tmp_path / "serial", seeds=2, methods=["lora"], max_steps=400)) == 0
    assert alike(tmp_path / "serial", tmp_path / "out") == []


def test_the_workers_of_a_command_that_is_killed_end_too(words, tmp_path):
    given = words(tmp_path / "out", "--workers", "2", seeds=2, methods=["lora"], max_steps=4000)
    process = subprocess.Popen([sys.executable, "-m", "retain.cli.main", *given], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while time.monotonic() < until and not list((tmp_path / "out").glob("base-*")):
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(children) == 2
    assert not psutil.wait_procs(children, timeout=120)[1]


@pytest.mark.parametrize("by", ["workers", "ray", "ray, sent"])
def test_a_sweep_by_workers_recommends_what_a_serial_one_does(words, cluster, tmp_path, by, monkeypatch):
    from retain.jobs.workers.on_ray import RayWorkers

    if by == "ray, sent":
        monkeypatch.setattr(RayWorkers, "_is_shared", lambda self: False)
    where = ["--workers", "2"] if by == "workers" else ["--ray", cluster]
    fields = {"sweep_steps": 3, "sweep_items": 8, "learning_rates": [1e-3, 1e-2]}
    assert main(words(tmp_path / "serial", verb="advise", **fields)) == 0
    assert main(words(tmp_path / "spread", *where, verb="advise", **fields)) == 0
    found = [
        json.loads((tmp_path / place / "advice.json").read_text(encoding="utf-8")) for place in ("serial", "spread")
    ]
    for record in found:
        record.pop("whole_seconds")
        for candidate in record["candidates"]:
            candidate.pop("step_seconds")
    assert found[0] == found[1]
    assert len(list((tmp_path / "spread" / "sweep" / "statistics").glob("self-*"))) == 1
