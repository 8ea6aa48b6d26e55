"""The record of a measurement: where its figures come from, and that the result is written last."""

import hashlib
from importlib.metadata import version

import pytest

from full_samples import full_run
from retain.jobs import record as module
from retain.jobs.record import provenance, write_record
from retain.records.result import read_result


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--judge", "ask --key secret", "--keep", "a"], ["--judge", "ask", "--keep", "a"]),
        (["--judge=ask --key secret", "--keep", "a"], ["--judge=ask", "--keep", "a"]),
        (["--keep", "--judge"], ["--keep", "--judge"]),
    ],
)
def test_the_command_is_on_record_without_the_keys_of_a_judge(given, shown, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/retain", "tune", *given])
    found = provenance({"train": "ab"}, "cd", ["A note."])
    assert "secret" not in found.command
    assert found.command.startswith("retain tune ")
    assert all(word in found.command for word in shown)
    assert (found.data_hashes, found.model_hash, found.notes) == ({"train": "ab"}, "cd", ("A note.",))
    assert found.versions["torch"] == version("torch")


def test_a_result_that_is_there_has_its_items_and_its_report(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_run_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_record(tmp_path, full_run(), [])
    assert not (tmp_path / "result.json").exists()


def test_the_result_names_the_items_it_was_made_from(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_run_report", lambda *_: None)
    written = write_record(tmp_path, full_run(), [])
    assert written == read_result(tmp_path / "result.json")
    assert written.provenance.items_hash == hashlib.sha256((tmp_path / "items.jsonl").read_bytes()).hexdigest()
