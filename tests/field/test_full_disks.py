"""Full disks, quotas, limits of the system: one sentence says what, where and what to do, and the run goes on."""

import errno
import multiprocessing
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from retain.cli.main import main
from retain.records.files import write_bytes
from retain.records.lock import output_folder
from retain.records.storage import StorageError, storage_sentence

CONTEXT = multiprocessing.get_context("fork")
NUMBERS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota of that disk is used up",
    errno.EROFS: "the file system can only be read",
    errno.EFBIG: "a file may not become so large",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "the system has too many files open",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the disk reports an error",
}


class Disk:
    """Lets so many files reach the disk and fails from then on."""

    def __init__(self, monkeypatch, number, after):
        self.left, self.number, self.own = after, number, os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor):
        self.left -= 1
        if self.left < 0:
            raise OSError(self.number, os.strerror(self.number))
        self.own(descriptor)


def write_a_record(folder, fail):
    with output_folder(folder):
        fail()  # after the folder's log was written
        write_bytes(folder / "record.json", b"{}")


@pytest.mark.parametrize("number", NUMBERS)
def test_what_was_written_why_it_failed_and_what_to_do_is_one_sentence(tmp_path, monkeypatch, number):
    with pytest.raises(StorageError) as caught:
        write_a_record(tmp_path / "run", lambda: Disk(monkeypatch, number, after=1))
    told = str(caught.value)
    assert told.startswith(str(tmp_path / "run" / "record.json"))
    assert NUMBERS[number] in told
    assert told.endswith(".")
    assert "\n" not in told
    assert ("free there" in told) == (number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".retain.jsonl"]


def tune(tiny_folder, data, output):
    """The words of a short run."""
    places = {"model": tiny_folder, "train": data / "train.jsonl", "test": data / "test.jsonl", "output": output}
    short = ["--max-steps", "2", "--test-items", "2", "--generate", "0", "--drift", "false", "--method", "lora"]
    return ["tune", *short, *(word for name, value in places.items() for word in (f"--{name}", str(value)))]


def test_a_run_whose_disk_was_full_goes_on_when_there_is_room(tiny_folder, tiny_data, tmp_path, capsys):
    whole, broken = tune(tiny_folder, tiny_data, tmp_path / "whole"), tune(tiny_folder, tiny_data, tmp_path / "broken")
    assert main(whole) == 0
    capsys.readouterr()
    for after in (3, 12, 20):
        with pytest.MonkeyPatch.context() as patched:
            Disk(patched, errno.ENOSPC, after)
            assert main(broken) == 1
        told = " ".join(capsys.readouterr().err.split())
        assert "could not be written: the disk is full (" in told
        assert "Then the same command goes on from what was saved." in told
        assert "foreseen" not in told
    assert main(broken) == 0
    name = Path("adapter") / "adapter_model.safetensors"
    ours, theirs = load_file(tmp_path / "broken" / name), load_file(tmp_path / "whole" / name)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert not list((tmp_path / "broken").rglob("*.partial"))


def in_a_child(work, folder):
    """What a process is told that may write no file of more than 100,000 bytes."""

    def run():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with output_folder(folder):
                work(folder)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test looks at it
            (folder.parent / "told").write_text(f"{type(error).__name__}: {error}")

    process = CONTEXT.Process(target=run)
    process.start()
    process.join(60)
    return (folder.parent / "told").read_text()


@pytest.mark.parametrize(
    "work",
    [
        lambda folder: write_bytes(folder / "a", b"0" * 300_000),
        lambda folder: save_file({"a": torch.zeros(10**5)}, folder / "a"),
        lambda folder: torch.save(torch.zeros(10**5), folder / "a"),
    ],
    ids=["ours", "safetensors", "torch"],
)
def test_a_limit_that_the_system_really_sets(tmp_path, work):
    told = in_a_child(work, tmp_path / "run")
    assert told.startswith("StorageError")
    assert "could not be written" in told


IN_THE_WAY = {
    "a file above": (lambda place: (place / "here" / "below").mkdir(parents=True), "here is a file, where a folder"),
    "a file in a folder's place": (lambda place: (place / "here").mkdir(), "here is a file, where a folder should be"),
    "a file read as a folder": (lambda place: (place / "here" / "x").read_text(), "here is a file, where a folder"),
    "a folder": (lambda place: place.write_text(""), "is a folder, where a file should be; move it away"),
}


@pytest.mark.parametrize(("work", "words"), IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_stands_in_the_way_is_named(tmp_path, work, words):
    (tmp_path / "here").write_text("mine", encoding="utf-8")
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- each of another kind
        work(tmp_path)
    assert words in storage_sentence(caught.value)
    assert (tmp_path / "here").read_text(encoding="utf-8") == "mine"


def test_other_errors_stay_as_they_are(tmp_path):
    assert storage_sentence(FileExistsError(errno.EEXIST, "there", str(tmp_path / "gone since"))) == ""
    assert storage_sentence(ValueError("no")) == ""
    assert storage_sentence(FileNotFoundError(errno.ENOENT, "none", "x")) == ""
    with pytest.raises(KeyError), output_folder(tmp_path / "run"):
        raise KeyError
