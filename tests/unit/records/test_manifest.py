"""What retain wrote, by names and hashes."""

import pytest

from retain.errors import InputError
from retain.records import manifest
from retain.records.files import new_folder, write_text
from retain.records.manifest import (
    MANIFEST,
    begin,
    changed,
    check_unchanged,
    is_own,
    is_tree,
    last_written,
    move,
    remove,
)


@pytest.fixture
def folder(tmp_path):
    begin(tmp_path)
    return tmp_path


def write(folder, name, text):
    write_text(folder / name, text)
    return folder / name


def test_what_was_written_is_own_until_it_is_changed(folder):
    path = write(folder, "a/report.md", "one")
    assert is_own(path)
    path.write_text("two", encoding="utf-8")
    assert not is_own(path)
    with pytest.raises(InputError, match="was changed since retain wrote it"):
        write_text(path, "three")
    with pytest.raises(InputError, match="was changed"):
        remove(path)
    assert path.read_text(encoding="utf-8") == "two"


def test_a_content_of_before_is_own_too(folder):
    """A kill between the note and the renaming leaves the old file."""
    path = write(folder, "result.json", "one")
    manifest.note_file(path, manifest.digest_of(b"two"))
    assert is_own(path)
    assert not changed(path)
    assert last_written(path) == manifest.digest_of(b"two")


def test_files_of_others_are_neither_overwritten_nor_removed(folder):
    for name in ("notes.txt", "inner/notes.txt"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
        with pytest.raises(InputError, match="is not retain's"):
            write_text(path, "other")
        with pytest.raises(InputError, match="is not retain's"):
            remove(path)
    write(folder, "inner/own.txt", "own")
    with pytest.raises(InputError, match=r"notes\.txt is not retain's"):
        remove(folder / "inner")
    assert (folder / "inner" / "own.txt").is_file(), "nothing was removed"


def test_folders_of_weights_are_whole_or_named(folder):
    with new_folder(folder / "adapter") as place:
        (place / "w.safetensors").write_text("weights", encoding="utf-8")
        (place / "README.md").write_text("card", encoding="utf-8")
    assert is_tree(folder / "adapter")
    (folder / "adapter" / "README.md").write_text("my card", encoding="utf-8")
    (folder / "adapter" / "notes.txt").write_text("mine", encoding="utf-8")
    assert not changed(folder / "adapter"), "a card is for people, and other files are theirs"
    (folder / "adapter" / "w.safetensors").write_text("Weights", encoding="utf-8")
    with pytest.raises(InputError, match=r"w\.safetensors is not what retain wrote there"):
        check_unchanged(folder / "adapter")
    (folder / "adapter" / "w.safetensors").unlink()
    assert "is missing" in changed(folder / "adapter")[0]


def test_a_folder_that_moves_stays_own(folder):
    with new_folder(folder / "adapter") as place:
        (place / "w").write_text("weights", encoding="utf-8")
    move(folder / "adapter", folder / "trained")
    assert is_own(folder / "trained")
    assert not (folder / "adapter").exists()
    remove(folder / "trained")
    assert [path.name for path in folder.iterdir()] == [MANIFEST]


@pytest.mark.parametrize("line", ["", "{", "[]", '{"name": 1}', '{"name": "a", "digest": []}', "[" * 10_000, "\udcff"])
def test_damaged_lines_of_the_log_are_passed_over(line, folder):
    path = write(folder, "a", "one")
    with (folder / MANIFEST).open("a", encoding="utf-8", errors="surrogateescape") as log:
        log.write(line)
    other = write(folder, "b", "two")
    assert is_own(path)
    assert is_own(other)


def test_without_a_log_nothing_is_known_and_nothing_refused(tmp_path):
    path = write(tmp_path, "a", "one")
    write(tmp_path, "a", "two")
    assert not is_own(path)
    assert not changed(path)
    assert last_written(path) is None
