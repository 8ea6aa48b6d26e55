"""The format of suite files: what is refused, and where data are looked for."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from retain.evaluate.suites.format import (
    ASSETS,
    SHIPPED,
    DataSource,
    LocatedSuite,
    SuiteFile,
    did_you_mean,
    is_template,
    sentence_of,
)

MINIMAL = {"suite": 1, "name": "own", "title": "Own", "task_type": "choice", "sources": [{"file": "rows.jsonl"}]}


def sentences(**fields):
    with pytest.raises(ValidationError) as refused:
        SuiteFile.model_validate({**MINIMAL, **fields})
    return [sentence_of(problem) for problem in refused.value.errors()]


def test_a_minimal_file_is_enough():
    file = SuiteFile.model_validate(MINIMAL)
    assert (file.part, file.version, file.limit, file.options.model_dump(exclude_none=True)) == ("keep", 1, None, {})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"task_type": "labls"}, "task_type: 'labls' is no task type (did you mean labels"),
        ({"task_type": "neighbours"}, "task type neighbours looks for items in a bank: it needs one"),
        ({"bank": [{"file": "b"}]}, "task type choice has no use for a bank; leave it out"),
        ({"options": {"corruptions": {}}}, "corruptions are for images; task type choice takes none"),
        ({"options": {"index": "base"}}, "index is for what searches among features (retrieval, neighbours); leave it"),
        ({"options": {"index": "old"}}, "options.index: expected 'own' or 'base'"),
        ({"titel": "x"}, "titel: is no field (did you mean title"),
        ({"sources": [{"split": "test"}]}, "sources.0: a source has exactly one of file, folder and hub"),
    ],
)
def test_what_is_wrong_is_a_sentence(fields, sentence):
    assert sentences(**fields)[0].startswith(sentence)


def test_what_is_missing_is_told():
    with pytest.raises(ValidationError) as refused:
        SuiteFile.model_validate({key: value for key, value in MINIMAL.items() if key != "title"})
    assert [sentence_of(problem) for problem in refused.value.errors()] == ["title: missing"]


def test_data_are_looked_for_beside_the_file_then_in_the_assets(monkeypatch):
    monkeypatch.setenv(ASSETS, "/assets")
    file = SuiteFile.model_validate(MINIMAL)
    own, shipped = LocatedSuite(file, Path("/own/own.yaml")), LocatedSuite(file, SHIPPED / "own.yaml")
    assert own.places(file.sources[0]) == [Path("/own/rows.jsonl"), Path("/assets/rows.jsonl")]
    assert shipped.places(file.sources[0]) == [Path("/assets/rows.jsonl")]
    assert own.places(file.sources[0], Path("/copy")) == [
        Path("/copy/rows.jsonl"), Path("/copy/rows.jsonl"), Path("/copy/rows"),
    ]  # fmt: skip


def test_a_source_is_described_for_people():
    assert DataSource(file="rows.jsonl", made_from="WordNet").place == "rows.jsonl (made from WordNet)"
    assert DataSource(hub="owner/name", split="test").place == "owner/name test"


def test_the_digest_is_that_of_file_and_code(tmp_path):
    (tmp_path / "own.yaml").write_text("a")
    (tmp_path / "code.py").write_text("b")
    plain = LocatedSuite(SuiteFile.model_validate(MINIMAL), tmp_path / "own.yaml")
    coded = LocatedSuite(SuiteFile.model_validate({**MINIMAL, "code": "code.py"}), tmp_path / "own.yaml")
    assert len({plain.digest, coded.digest}) == 2
    assert len(plain.digest) == 12


def test_small_helpers():
    assert did_you_mean("capitls", ["capitals", "topics"]) == " (did you mean capitals?)"
    assert did_you_mean("xyz", ["capitals"]) == ""
    assert [is_template(spec) for spec in ("{{ a }}", "{% if a %}", "a", 3)] == [True, True, False, False]
