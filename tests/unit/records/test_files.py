"""Files are there in full or not at all."""

import pytest

from retain.records.files import write_bytes, write_text


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
