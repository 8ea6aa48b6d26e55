"""Paths at which nothing can lie: the home of nobody, a NUL, a name that is too long, links that lead to themselves."""

import pytest

from retain.cli.main import main
from retain.data.forms import read_rows
from retain.data.places import is_plain_data, looks_like_path, name_of_source, parse_source
from retain.errors import InputError
from retain.evaluate.suites.loading import as_suite
from retain.records.paths import expanded

NOBODY = "~nosuchuser-of-retain/x"
REASONS = {"nobody": "nobody's home is ~nosuchuser-of-retain", "nul": "NUL", "long": "more characters", "loop": "links"}


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    return {
        "nobody": NOBODY,
        "nul": f"{tmp_path}/a\0b",
        "long": f"{tmp_path}/{'é' * 200}/x",
        "loop": f"{tmp_path}/a/x",
    }


WORDS = {
    "train": ["check", "--model", "m", "--train", "{}", "--test", "t.jsonl", "--output", "out", "--method", "lora"],
    "test": ["check", "--model", "m", "--train", "t.jsonl", "--test", "{}", "--output", "out", "--method", "lora"],
    "keep": ["measure", "--model", "m", "--tuned", "t", "--keep", "{}", "--output", "out"],
    "held_out_text": ["measure", "--model", "m", "--tuned", "t", "--held-out-text", "{}", "--output", "out"],
    "model": ["check", "--model", "{}", "--train", "t.jsonl", "--test", "t.jsonl", "--output", "out"],
    "tuned": ["measure", "--model", "m", "--tuned", "{}", "--test", "t.jsonl", "--output", "out"],
    "output": ["measure", "--model", "m", "--tuned", "t", "--test", "t.jsonl", "--output", "{}"],
    "template": [
        "check",
        "--model",
        "m",
        "--train",
        "t.jsonl",
        "--test",
        "t.jsonl",
        "--output",
        "o",
        "--template",
        "{}",
    ],
    "statistics": [
        "tune",
        "--model",
        "m",
        "--train",
        "t.jsonl",
        "--test",
        "t.jsonl",
        "--statistics",
        "{}",
        "--output",
        "o",
    ],
    "recipe": ["check", "{}"],
    "inspect": ["inspect", "{}"],
    "report": ["report", "{}"],
    "gate": ["gate", "{}"],
    "scale": ["scale", "{}"],
    "from_run": ["tune", "--from", "{}", "--output", "out"],
}


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("field", WORDS)
def test_every_field_refuses_them_in_a_sentence(tmp_path, monkeypatch, capsys, paths, field, kind):
    if "\0" in paths[kind] and field not in {"train", "keep", "model"}:
        pytest.skip("a shell gives no NUL; three fields stand for the others")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n')
    assert main([word.format(paths[kind]) for word in WORDS[field]]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert REASONS[kind] in told
    assert "problem" in told
    assert not list(tmp_path.glob("retain-error*"))


@pytest.mark.parametrize("kind", REASONS)
def test_as_data_of_every_kind(tmp_path, paths, kind):
    (tmp_path / "images.csv").write_text("image,label\nx,a\n")
    for read in (read_rows, lambda source, problems: as_suite(f"mine:={source}", "keep", problems)):
        problems = []
        read(paths[kind], problems)
        assert REASONS[kind] in problems[0]
    assert looks_like_path(paths[kind])
    assert is_plain_data(paths[kind])
    assert name_of_source(paths[kind])
    with pytest.raises(ValueError, match="there is no such file or folder as"):
        parse_source(paths[kind])


def test_an_image_of_a_row(tmp_path):
    (tmp_path / "images.jsonl").write_text(f'{{"image": "{NOBODY}", "label": "a"}}\n')
    problems = []
    read_rows(str(tmp_path / "images.jsonl"), problems)
    assert "line 1: there is no such file or folder as ~nosuchuser-of-retain/x" in problems[0]


def test_what_is_not_there_is_a_path_all_the_same(tmp_path):
    assert expanded(tmp_path / "new" / "er") == tmp_path / "new" / "er"
    assert expanded("owner/name") == expanded("owner/name")
    (tmp_path / "file").write_text("")
    assert expanded(tmp_path / "file" / "x") == tmp_path / "file" / "x"
    with pytest.raises(InputError, match="more characters"):
        expanded("a" * 256)
