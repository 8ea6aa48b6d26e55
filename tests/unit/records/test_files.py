"""Files are there in full or not at all."""

import pytest

from retain.records.files import remove_leftovers, write_bytes, write_text
from retain.records.manifest import begin


def test_a_file_is_written_with_its_folders(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "ä\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ä\n".encode()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    place = tmp_path / "file"
    write_bytes(place, b"old")
    with pytest.raises(TypeError):
        write_bytes(place, "no bytes")
    assert place.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_has_the_content_already_is_not_touched(tmp_path):
    place = tmp_path / "file"
    write_bytes(place, b"old")
    stamp = place.stat().st_ino
    write_bytes(place, b"old")
    assert place.stat().st_ino == stamp


def test_leftovers_of_interrupted_writes_are_removed_and_a_replacement_is_finished(tmp_path):
    begin(tmp_path)
    write_text(tmp_path / "inner" / "a.txt", "a")
    (tmp_path / "inner" / ".a.txt.4711.partial").write_text("half", encoding="utf-8")
    (tmp_path / ".adapter.4711.partial").mkdir()
    (tmp_path / ".adapter.4711.former").mkdir()
    (tmp_path / ".adapter.4711.former" / "w").write_text("weights", encoding="utf-8")
    (tmp_path / ".mine.partial").write_text("mine", encoding="utf-8")
    remove_leftovers(tmp_path)
    assert (tmp_path / "adapter" / "w").read_text(encoding="utf-8") == "weights"
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".retain.jsonl", "inner/a.txt", "adapter/w", ".mine.partial"}
