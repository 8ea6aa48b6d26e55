"""Two processes in one folder: the second is told who holds it; a dead one holds nothing."""

import json
import multiprocessing
import os
import socket
import time

import pytest

from retain.cli.main import main
from retain.errors import InputError
from retain.records.file_lock import SILENT_SECONDS
from retain.records.lock import output_folder
from retain.records.manifest import LOCK

CONTEXT = multiprocessing.get_context("fork")


def hold(folder, held):
    with output_folder(folder):
        held.set()
        time.sleep(120)


def stay(held):
    held.set()
    time.sleep(120)


@pytest.fixture
def holder(tmp_path):
    held = CONTEXT.Event()
    process = CONTEXT.Process(target=hold, args=(tmp_path / "run", held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join(60)


def test_the_second_process_is_told_who_holds_the_folder(holder, tmp_path):
    told = f"in use by process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(InputError, match=told), output_folder(tmp_path / "run"):
        raise AssertionError


def test_a_report_into_a_folder_that_is_in_use_is_refused(holder, tmp_path, capsys):
    from full_samples import full_run
    from retain.records.result import write_result

    write_result(full_run(), tmp_path / "one" / "result.json")
    assert main(["report", str(tmp_path / "one"), "--output", str(tmp_path / "run")]) == 2
    assert f"in use by process {holder.pid}" in capsys.readouterr().err


def test_the_lock_of_a_process_that_was_killed_is_taken_over(holder, tmp_path):
    holder.kill()
    holder.join(60)
    assert (tmp_path / "run" / LOCK).exists()
    with output_folder(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / LOCK).read_text(encoding="utf-8"))["process"] == os.getpid()
    assert not (tmp_path / "run" / LOCK).exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"host": 1}', '{"host": "a", "process": -1e99, "since": "", "born": ""}']
)
def test_a_lock_that_was_cut_off_while_it_was_written_holds_nothing(text, tmp_path):
    (tmp_path / LOCK).write_text(text, encoding="utf-8")
    with output_folder(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_later_process_with_the_number_of_a_dead_one_holds_nothing(tmp_path):
    held = CONTEXT.Event()
    other = CONTEXT.Process(target=stay, args=(held,))
    other.start()
    assert held.wait(60)
    values = {"host": socket.gethostname(), "process": other.pid, "since": "2020", "born": "1"}
    (tmp_path / LOCK).write_text(json.dumps(values), encoding="utf-8")
    with output_folder(tmp_path):
        pass
    other.kill()
    other.join(60)


def test_a_holder_on_another_host_counts_as_long_as_it_gives_signs_of_life(tmp_path):
    values = {"host": "another-host", "process": 1, "since": "2026-11-28T10:00:00+00:00", "born": ""}
    path = tmp_path / LOCK
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match="process 1 on another-host, since 2026-11-28"), output_folder(tmp_path):
        raise AssertionError
    past = time.time() - 2 * SILENT_SECONDS
    os.utime(path, (past, past))
    with output_folder(tmp_path):
        pass
    assert [inner.name for inner in tmp_path.iterdir()] == [".retain.jsonl"]


def test_the_lock_is_removed_however_the_work_ends(tmp_path):
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), output_folder(tmp_path / "run"):
            raise error
        assert not (tmp_path / "run" / LOCK).exists()
