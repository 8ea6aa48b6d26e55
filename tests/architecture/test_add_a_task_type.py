"""A task type is added from outside: one file, one row. Reading, predicting, scoring, verdict and report follow."""

from __future__ import annotations

import pytest
import torch
from first_letter import FirstLetterTask, Word

from retain.cli import suites as verb
from retain.evaluate.suites.loading import as_suite
from retain.evaluate.tasks.table import TASK_TYPES
from retain.hf.adapters.attach import attach
from retain.jobs.measure import measure
from tiny import make_llama, make_tokenizer, write_jsonl

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SUITE = """
suite: 1
name: letters-of-words
title: First letters
task_type: first-letter
sources: [{file: words.jsonl}]
"""


@pytest.fixture(autouse=True)
def row(monkeypatch):
    """The row in the table."""
    monkeypatch.setitem(TASK_TYPES, FirstLetterTask.name, FirstLetterTask())


@pytest.fixture(scope="module")
def tuned():
    """A model whose answers differ from its base's."""
    model = attach(make_llama(), "vefa", {})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "vefa_" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    return model.eval()


@pytest.fixture
def words(tmp_path):
    """A suite file with 52 words; the letter of each is what the base writes, so that the base knows most."""
    prompts = [f"{one} {two}" for one in LETTERS[::2] for two in LETTERS[::7]]
    tokenizer, model = make_tokenizer(), make_llama()
    with torch.no_grad():
        ids = [model(torch.tensor([tokenizer.encode(prompt)])).logits[0, -1].argmax() for prompt in prompts]
    rows = [{"word": prompt, "letter": tokenizer.decode(token)} for prompt, token in zip(prompts, ids, strict=True)]
    write_jsonl(tmp_path / "words.jsonl", rows)
    (tmp_path / "suite.yaml").write_text(SUITE, encoding="utf-8")
    return tmp_path


def test_a_suite_file_and_plain_data_are_read_as_the_new_task_type(words):
    problems: list[str] = []
    named, plain = (as_suite(str(words / name), "keep", problems) for name in ("suite.yaml", "words.jsonl"))
    assert problems == []
    assert (named.name, plain.name) == ("letters-of-words", "words")
    for suite in (named, plain):
        assert suite.task_type == "first-letter"
        assert [type(item) for item in suite.items] == [Word] * 52


def test_it_is_measured_judged_and_reported(words, tuned):
    output = words / "run"
    result = measure(
        tuned, tokenizer=make_tokenizer(), keep=[str(words / "suite.yaml")], output=output, show_progress=False
    )
    (score,) = result.keep
    assert (score.name, score.metric.name, score.n) == ("letters-of-words", "accuracy", 52)
    assert score.base > 0.9 > score.tuned
    assert result.suites[0].task_type == "first-letter"
    assert result.judgement.aa_check.passed
    assert [suite.verdict for suite in result.judgement.suites] == ["lost"]
    for page in ("report.html", "report.md"):
        text = (output / page).read_text(encoding="utf-8")
        assert "letters-of-words" in text
        assert "lost" in text


def test_the_command_line_describes_it(words, capsys):
    verb.run(verb.make_parser().parse_args([str(words / "suite.yaml")], defaults=False))
    shown = capsys.readouterr().out
    assert "first-letter" in shown
    assert '"word":"a a"' in shown
