"""Sources taken apart, and whether they are meant as paths."""

from pathlib import Path

import pytest

from retain.data.places import is_plain_data, looks_like_path, missing_sentence, name_of_source, parse_source


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a:b.jsonl").write_text("")


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("data", "data", None),
        ("data:test", "data", "test"),
        ("data/a:b.jsonl", "data/a:b.jsonl", None),
        ("data/none.json:train", "data/none.json", "train"),
        ("owner/name", None, None),
        ("owner/name:main:test", None, None),
        ("owner/name.v2:test", None, None),
    ],
)
def test_a_source_is_a_path_with_its_part_or_an_id(text, path, part):
    source = parse_source(text)
    assert (source.path, source.part) == (None if path is None else Path(path), part)


def test_renamed_columns_stand_behind_a_source():
    source = parse_source("data:test::text=a b,label=c")
    assert (source.text, source.part, source.columns) == ("data:test", "test", {"text": "a b", "label": "c"})
    with pytest.raises(ValueError, match="no NEW=OLD"):
        parse_source("data::text")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        *(
            (text, True)
            for text in ("./a", "/a", "~/a", "a.jsonl", "A.CSV", "a.json.gz", "data/x", "a/b/c", "x.xlsx", "photos/")
        ),
        *((text, False) for text in ("owner/name", "name", "owner/name-1.5", "owner/name:split")),
    ],
)
def test_what_is_meant_as_a_path(text, path):
    assert looks_like_path(text) == path


def test_near_names_are_told():
    assert "did you mean data/a:b.jsonl" in missing_sentence(Path("data/ab.jsonl"))
    assert missing_sentence(Path("none/a.jsonl")) == "there is no folder none"


def test_sources_are_named_by_their_file_folder_or_id():
    names = {"x/a.jsonl.gz": "a", "data": "data", "data:test": "data", "o/quiz:main:test": "quiz", "a.csv::text=b": "a"}
    assert {source: name_of_source(source) for source in names} == names


def test_bare_words_are_no_data():
    assert [is_plain_data(text) for text in ("capitals", "data", "o/n", "a.csv", "squad:test")] == [
        False,
        True,
        True,
        True,
        True,
    ]
