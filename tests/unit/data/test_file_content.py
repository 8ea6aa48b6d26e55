"""What a file is, by its first bytes."""

import gzip

import pytest

from retain.data import file_content
from retain.data.file_content import bare_stem, bare_suffix, kind_of, read_content


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"PAR1...", "a.csv", "parquet"),
        (b"ARROW1", "a", "arrow"),
        (b'{"a": 1}', "a.csv", "json"),
        (b' \n[{"a": 1}]', "a", "json"),
        (b'\xef\xbb\xbf{"a": 1}', "a", "json"),
        ('{"a": 1}'.encode("utf-16"), "a.dat", "json"),
        (b"{{ template }} prose", "a.txt", "text"),
        (b"[1] A footnote.", "a.md", "text"),
        (b'[text],"label"', "a.csv", "table"),
        (b"a,b", "A.TSV.GZ", "table"),
        (b"prose", "a", "text"),
    ],
)
def test_the_content_decides_and_then_the_name(content, name, kind):
    assert kind_of(content, name) == kind


def test_packed_files_are_unpacked_and_a_bomb_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a" * 5000))
    assert len(read_content(tmp_path / "a.gz")) == 5000
    monkeypatch.setattr(file_content, "MOST_UNPACKED", 4999)
    with pytest.raises(ValueError, match="unpacks to more than 4,999 bytes"):
        read_content(tmp_path / "a.gz")


def test_names_without_their_endings():
    assert [bare_suffix("A.JSONL.GZ"), bare_suffix("a.gz"), bare_stem("x/a.b.csv.gz")] == [".jsonl", "", "a.b"]
