"""What a killed process left half-written: the same command cleans it up and goes on; nothing else is taken for it."""

import os
import subprocess
import sys

import pytest

import retain
from retain.records.file_lock import Holder, holding
from retain.records.lock import made_once, output_folder
from retain.records.manifest import MANIFEST, begin, digest_of, note_file


@pytest.fixture(scope="module")
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != MANIFEST)


def test_a_half_written_file_of_a_folder_that_is_written_anew_is_no_reason_to_refuse_it(tmp_path, gone):
    keep = tmp_path / "keep"
    keep.mkdir()
    begin(tmp_path)
    note_file(keep / "moments.safetensors", digest_of(b"whole"))  # noted, then killed while it was written
    (keep / f".moments.safetensors.{gone}.partial").write_bytes(b"who")
    with output_folder(tmp_path, ["keep"]):
        assert names(keep) == []


def test_a_file_of_the_user_there_is_still_a_reason(tmp_path, gone):
    keep = tmp_path / "keep"
    keep.mkdir()
    begin(tmp_path)
    note_file(keep / "moments.safetensors", digest_of(b"whole"))
    (keep / "notes.txt").write_text("mine", encoding="utf-8")
    (keep / f".moments.safetensors.{gone}.partial").write_bytes(b"who")
    with pytest.raises(retain.InputError, match=r"notes\.txt is not retain's"), output_folder(tmp_path, ["keep"]):
        pass
    assert (keep / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("content", ["whole", "empty"])
def test_a_lock_that_was_half_made_is_removed_by_the_next_holder(content, tmp_path, gone):
    left = tmp_path / f"..retain-learn.lock-0123456789abcdef.{gone}.partial"
    holder = Holder.here().model_copy(update={"process": gone})
    left.write_text(holder.model_dump_json() if content == "whole" else "", encoding="utf-8")
    with made_once(tmp_path / "learn"):
        assert not left.exists()
    assert names(tmp_path) == []


def test_what_a_living_process_is_about_to_link_stays_and_so_do_files_of_other_names(tmp_path):
    parent = Holder.here().model_copy(update={"process": os.getppid()})
    parent = parent.model_copy(update={"born": _born(os.getppid())})
    others = {
        f".a.lock-0123456789abcdef.{os.getppid()}.partial": parent.model_dump_json(),
        ".a.lock-notes.partial": "the user's",
        ".b.lock-0123456789abcdef.1.partial": "another lock's",
    }
    for name, content in others.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    with holding(tmp_path / "a.lock"):
        assert set(others) < set(names(tmp_path))
    assert names(tmp_path) == sorted(others)


def _born(process):
    from retain.records.file_lock import _born

    return _born(process)
