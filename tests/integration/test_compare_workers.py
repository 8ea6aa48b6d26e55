"""Comparisons spread over processes, a Ray cluster and tasks of a job array end in the bits of the serial one."""

import json
import os
import signal
import threading
import time

import pytest
import yaml

from interruptions import in_child
from retain.cli.main import main
from retain.jobs.progress import RunsProgress
from retain.records.manifest import LOCK
from spread_runs import alike, local_cluster


@pytest.fixture(scope="module")
def words(tiny_folder, tiny_data, tmp_path_factory):
    """The command of a comparison of two runs, of which one is calibrated on text that the base writes."""
    recipe = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    values = {
        "model": str(tiny_folder), "train": str(tiny_data / "train.jsonl"), "test": str(tiny_data / "test.jsonl"),
        "keep": [str(tiny_data / "letters.jsonl")], "held_out_text": [str(tiny_data / "text.txt")],
        "methods": ["lora", "sc-lora"], "max_steps": 2, "generate": 0, "drift": False, "rank": 2,
        "calibrate_tokens": 300, "max_length": 64, "cpus_per_run": 1,
    }  # fmt: skip
    recipe.write_text(yaml.safe_dump(values), encoding="utf-8")
    return lambda output, *more: ["compare", str(recipe), "--output", str(output), *more]


@pytest.fixture(scope="module")
def serial(words, tmp_path_factory):
    output = tmp_path_factory.mktemp("serial") / "out"
    assert main(words(output)) == 0
    return output


@pytest.fixture
def made(monkeypatch):
    """What was begun for all runs, by whichever worker: one entry each time."""
    begun, at = [], RunsProgress.at

    def listen(self, run, event):
        if event.name in {"the base answers", "the base writes what it knows"} and event.done == 0:
            begun.append(event.name)
        at(self, run, event)

    monkeypatch.setattr(RunsProgress, "at", listen)
    return begun


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a Ray cluster of two workers on this machine."""
    pytest.importorskip("ray")
    with local_cluster(tmp_path_factory.mktemp("ray") / "log") as address:
        yield address


@pytest.mark.slow
def test_two_workers_end_in_the_bits_of_one_process(words, serial, tmp_path, made):
    assert main(words(tmp_path / "out", "--workers", "2")) == 0
    assert alike(serial, tmp_path / "out") == []
    assert sorted(made) == ["the base answers", "the base writes what it knows"]


def test_a_worker_of_a_cluster_is_killed_in_its_run_and_the_table_is_the_serial_one(
    words, serial, cluster, tmp_path, made, capsys
):
    output, killed = tmp_path / "out", []

    def kill():
        while not killed:
            for lock in (output / "runs").glob(f"*/{LOCK}") if any(output.glob("base-*.json")) else ():
                try:
                    process = json.loads(lock.read_text(encoding="utf-8"))["process"]
                except (OSError, ValueError):
                    continue
                os.kill(process, signal.SIGKILL)
                killed.append(lock.parent.name)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert main(words(output, "--ray", cluster)) == 0
    thread.join(1)
    assert killed, "no run was seen"
    assert f"{killed[0]}: its worker was lost" in capsys.readouterr().out
    assert alike(serial, output) == []
    assert made.count("the base answers") == 1


@pytest.mark.slow
def test_tasks_of_a_job_array_share_what_is_made_once_and_a_last_command_gathers(words, serial, tmp_path, made):
    output, children = tmp_path / "out", []
    for share in ("1/2", "2/2"):
        thread = threading.Thread(
            target=lambda share=share: children.append(
                in_child(lambda: main(words(output, "--run", share)), output, tmp_path / share[0])
            )
        )
        thread.start()
        thread.join(0.2)
        if share == "2/2":
            while len(children) < 2:
                time.sleep(0.05)
    assert [child.code for child in children] == [0, 0], "\n".join(child.text for child in children)
    assert all("1 of 1 complete" in child.text for child in children)
    assert not (output / "summary.json").exists()
    assert main(words(output)) == 0
    assert made == [], "all was done by the tasks"
    assert alike(serial, output) == []


def test_a_run_that_fails_stops_no_other_and_is_done_again_alone(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("retain.jobs.record.write_run_report", lambda *_: [])  # it has tests of its own
    given = words(tmp_path / "out", "--methods", "lora", "--learning-rates", "1e30,1e-3")
    assert main(given) == 1
    printed = capsys.readouterr()
    assert "lora-lr1e+30-seed0 failed: " in printed.err
    assert "Traceback" not in printed.err
    assert "1/2  lora-lr1e+30" not in printed.out
    assert "- 1 run" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert main(given) == 1
    assert capsys.readouterr().out.count("was complete already") == 1
