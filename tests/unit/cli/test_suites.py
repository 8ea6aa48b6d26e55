"""`retain suites`: the list, one suite, what is not here, and what is never shown."""

import subprocess
import sys

import pytest
from jsonargparse import ArgumentParser

from retain.cli import suites
from retain.errors import InputError
from tiny import write_jsonl


@pytest.fixture(autouse=True)
def assets(tmp_path, monkeypatch):
    """A folder of assets in which two suites are here."""
    folder = tmp_path / "assets"
    (folder / "safety").mkdir(parents=True)
    rows = [{"question": f"The capital of {a} is", "choices": ["x", "y"], "answer": 0} for a in "abcdefg"]
    write_jsonl(folder / "capitals.jsonl", rows)
    write_jsonl(folder / "safety" / "advbench.jsonl", [{"prompt": f"secret {i}", "harmful": True} for i in range(4)])
    monkeypatch.setenv("RETAIN_ASSETS", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def shown(capsys, *arguments) -> str:
    parser: ArgumentParser = suites.make_parser()
    suites.run(parser.parse_args(list(arguments), defaults=False))
    return capsys.readouterr().out


def line_of(text, name) -> str:
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_the_list_says_what_is_here_and_what_is_not(capsys):
    out = shown(capsys)
    assert "choice" in line_of(out, "capitals")
    assert " 7 " in line_of(out, "capitals")
    assert "MIT" in shown(capsys, "capitals")  # the list leaves licences out: they made it pages long
    assert "not here: no continents.jsonl" in line_of(out, "continents")
    assert "on the hub: mandarjoshi/trivia_qa" in line_of(out, "trivia-qa")
    for area in ("world knowledge", "understanding", "generation", "vision", "safety"):
        assert area in out


def test_the_list_is_readable_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 100


def test_one_suite_is_described_with_its_first_items(capsys):
    out = shown(capsys, "capitals", "--items", "2")
    assert "Capitals of the world" in out
    assert "countryinfo" in out
    assert "The capital of b is" in out
    assert "The capital of c is" not in out
    assert line_of(out, "items").split() == ["items", "7"]


def test_requests_are_counted_but_never_shown(capsys):
    out = shown(capsys, "advbench", "--items", "4")
    assert line_of(out, "items").split() == ["items", "4"]
    assert "secret" not in out
    assert "not shown" in out


def test_a_suite_whose_data_are_not_here_is_still_described(capsys):
    out = shown(capsys, "continents")
    assert "continent a country lies" in out
    assert "its data are not here" in out


def test_ones_own_file_and_copy_are_described(capsys, tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"q": "Why?", "a": ["because"]}])
    (tmp_path / "own.yaml").write_text(
        "suite: 1\nname: own\ntitle: Why\ntask_type: question\nsources: [{file: rows.jsonl}]\n"
        "fields: {question: q, answers: a}\n",
        encoding="utf-8",
    )
    assert "Why?" in shown(capsys, str(tmp_path / "own.yaml"))
    write_jsonl(tmp_path / "copy.jsonl", [{"q": "How?", "a": ["so"]}])
    out = shown(capsys, f"{tmp_path / 'own.yaml'}={tmp_path / 'copy.jsonl'}")
    assert "How?" in out
    assert "own copy copy.jsonl" in out


def test_the_options_of_a_suite_are_told(capsys, tmp_path):
    write_jsonl(tmp_path / "pairs.jsonl", [{"query": letter, "match": letter * 2} for letter in "ab"])
    (tmp_path / "pairs.yaml").write_text(
        "suite: 1\nname: pairs\ntitle: Pairs\ntask_type: retrieval\nsources: [{file: pairs.jsonl}]\n"
        "options: {index: base}\n",
        encoding="utf-8",
    )
    assert line_of(shown(capsys, str(tmp_path / "pairs.yaml")), "options").split() == ["options", "index:", "base"]
    assert "options" not in shown(capsys, "capitals")


def test_an_unknown_name_and_a_wrong_file_are_told(tmp_path, capsys):
    with pytest.raises(InputError, match="did you mean capitals"):
        shown(capsys, "capitls")
    (tmp_path / "bad.yaml").write_text("suite: 1\ntask_type: nothing\n", encoding="utf-8")
    with pytest.raises(InputError) as found:
        shown(capsys, str(tmp_path / "bad.yaml"))
    assert len(found.value.problems) >= 3


def test_it_needs_no_torch():
    code = """
import sys
from retain.cli import suites
suites.run(suites.make_parser().parse_args([], defaults=False))
suites.run(suites.make_parser().parse_args(["capitals"], defaults=False))
assert not {"torch", "transformers", "peft", "datasets"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
