"""A folder that hosts share: processes that claim to be on other hosts take a lock, wait for it, and take it over."""

import json
import multiprocessing
import os
import socket
import time

import pytest

from retain.records import file_lock
from retain.records.file_lock import SILENT_SECONDS, HeldError, holding, holding_in_turn
from retain.records.lock import InUseError, made_once, output_folder
from retain.records.manifest import LOCK, MANIFEST, note_file

CONTEXT = multiprocessing.get_context("fork")


def pose_as(host):
    """Let this process claim another host, with another start of its system."""
    socket.gethostname = lambda: host
    file_lock._machine = lambda: f"start of {host}"


def on(host, work, *arguments):
    def posing():
        pose_as(host)
        work(*arguments)

    process = CONTEXT.Process(target=posing)
    process.start()
    return process


def hold(lock, held):
    with holding(lock):
        held.set()
        time.sleep(120)


def count_up(folder, times):
    """Read, wait and write a number: only who is alone loses no step."""
    number = folder / "number"
    for _ in range(times):
        with holding_in_turn(folder / "count.lock", briefly=True):
            before = int(number.read_text(encoding="utf-8"))
            time.sleep(0.001)
            number.write_text(str(before + 1), encoding="utf-8")


def make(folder):
    with made_once(folder / "answers"):
        if not (folder / "answers").exists():
            with (folder / "made").open("a", encoding="utf-8") as file:
                file.write(f"{socket.gethostname()}\n")
            time.sleep(0.2)
            (folder / "answers").write_text("made", encoding="utf-8")


def note(folder, host):
    for number in range(25):
        note_file(folder / f"{host}-{number}", "1:0")


def join(processes):
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_a_folder_in_use_on_another_host_is_refused_with_process_and_host(tmp_path):
    held = CONTEXT.Event()
    process = on("node7", hold, tmp_path / LOCK, held)
    assert held.wait(60)
    with (
        pytest.raises(InUseError, match=f"in use by process {process.pid} on node7, since 20"),
        output_folder(tmp_path),
    ):
        raise AssertionError
    process.kill()
    process.join(60)
    with pytest.raises(InUseError), output_folder(tmp_path):  # nobody here can tell that it is dead
        raise AssertionError
    past = time.time() - 2 * SILENT_SECONDS
    os.utime(tmp_path / LOCK, (past, past))
    with output_folder(tmp_path):
        pass


def test_a_lock_from_the_future_holds_as_long_as_it_changes(tmp_path, monkeypatch):
    """Another machine's clock ran ahead, or the storage's was set back: the time alone would hold it for ever."""
    lock = tmp_path / "what.lock"
    lock.write_text(json.dumps({"host": "gone", "process": 1, "since": "2020", "token": "x"}), encoding="utf-8")
    monkeypatch.setattr(file_lock, "SILENT_SECONDS", 0.3)
    for ahead in (9000, 9020):  # touched meanwhile
        os.utime(lock, (time.time() + ahead,) * 2)
        with pytest.raises(HeldError), holding(lock, briefly=True):
            raise AssertionError
    time.sleep(0.4)
    with holding(lock, briefly=True):
        pass


def test_a_host_of_the_same_name_is_another_one(tmp_path):
    held = CONTEXT.Event()

    def same_name():
        file_lock._machine = lambda: "another start"
        hold(tmp_path / LOCK, held)

    process = CONTEXT.Process(target=same_name)
    process.start()
    assert held.wait(60)
    process.kill()
    process.join(60)
    with pytest.raises(HeldError), holding(tmp_path / LOCK):
        raise AssertionError


def test_of_many_that_find_a_lock_left_behind_one_at_a_time_takes_it(tmp_path):
    lock = tmp_path / "count.lock"
    lock.write_text(json.dumps({"host": "gone", "process": 1, "since": "2020", "token": "x"}), encoding="utf-8")
    past = time.time() - 2 * SILENT_SECONDS
    os.utime(lock, (past, past))
    (tmp_path / "number").write_text("0", encoding="utf-8")
    join([on(f"node{place}", count_up, tmp_path, 15) for place in range(4)])
    assert (tmp_path / "number").read_text(encoding="utf-8") == "60"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["number"]


def test_what_all_need_is_made_by_one_while_the_others_wait(tmp_path):
    join([on(f"node{place}", make, tmp_path) for place in range(4)])
    assert len((tmp_path / "made").read_text(encoding="utf-8").splitlines()) == 1


def test_hosts_that_note_files_in_one_log_lose_no_line(tmp_path):
    (tmp_path / MANIFEST).touch()
    join([on(host, note, tmp_path, host) for host in ("node1", "node2", "node3")])
    lines = (tmp_path / MANIFEST).read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["name"] for line in lines}) == len(lines) == 75


def test_storage_without_links_is_locked_by_making_the_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "number").write_text("0", encoding="utf-8")
    join([on(f"node{place}", count_up, tmp_path, 10) for place in range(3)])
    assert (tmp_path / "number").read_text(encoding="utf-8") == "30"


def test_a_lock_that_another_took_over_is_left_to_it(tmp_path):
    lock = tmp_path / LOCK
    with holding(lock):
        other = json.dumps({"host": "node2", "process": 1, "since": "2026", "token": "other"})
        lock.write_text(other, encoding="utf-8")
    assert lock.read_text(encoding="utf-8") == other
