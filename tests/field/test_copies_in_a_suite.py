"""Rows that ask the same are one unit of evidence, though nobody gave them a group."""

from __future__ import annotations

import copy

import pytest

import retain
from retain.cli.main import main
from retain.data.copies import copies_sentence, question_folded, with_copies_grouped
from retain.data.item_types import Choice
from tiny import WORDS, make_llama, make_tokenizer, write_jsonl

LETTERS = WORDS[:26]
SETTINGS = {"show_progress": False, "drift": False, "generate": 0, "batch_size": 128, "max_length": 60}


def written(question, count=1, **more):
    return [{"question": question, "choices": ["a", "b", "c", "d"], "answer": 1, **more}] * count


def test_two_hundred_copies_of_one_question_are_no_evidence():
    model = make_llama()
    keep = {"dup": written("x y then", 200)}
    result = retain.measure(model, copy.deepcopy(model), tokenizer=make_tokenizer(), keep=keep, **SETTINGS)
    (verdict,) = result.judgement.suites
    assert (verdict.verdict, verdict.units) == ("too few items to say", 1)
    assert "dup: 200 rows are 1 distinct question; copies count as one unit." in result.provenance.notes


def test_copies_written_otherwise_are_copies():
    texts = ["The capital of France is", "the  capital of france IS.", "“The capital of France is?”"]
    assert len({question_folded(text) for text in texts}) == 1


@pytest.mark.parametrize("pair", [("is 1.5 more", "is 15 more"), ("5 - 3", "5 3"), ("2 + 2 =", "2 * 2 ="), ("-5", "5")])
def test_numbers_and_signs_tell_questions_apart(pair):
    assert question_folded(pair[0]) != question_folded(pair[1])


def test_one_wording_with_other_choices_is_another_question():
    rows = [Choice(question="Which is a fruit?", choices=(a, "stone", "rain"), answer=0) for a in LETTERS[:5]]
    assert with_copies_grouped(rows) is rows
    turned = [*rows, Choice(question="which is a fruit", choices=("stone", "rain", "a"), answer=2)]
    assert [item.group for item in with_copies_grouped(turned)] == ["copies of row 1", *[None] * 4, "copies of row 1"]


def test_copies_join_groups_that_were_given_to_some():
    rows = [
        *written("q one", group="article 1"),
        *written("q two", group="article 1"),
        *written("Q two"),
        *written("q three"),
        *written("Q three.", group="article 2"),
        *written("q four"),
    ]
    items = with_copies_grouped([Choice(**row) for row in rows])
    assert [item.group for item in items] == [*["article 1"] * 3, *["article 2"] * 2, None]
    assert copies_sentence("s", items) == "s: 6 rows are 4 distinct questions; copies count as one unit."


def test_check_tells_copies_in_every_part(tiny_folder, tiny_data, tmp_path, capsys):
    keep = write_jsonl(tmp_path / "dup.jsonl", [row for letter in LETTERS for row in written(f"{letter} then", 3)])
    train = tmp_path / "train.jsonl"
    train.write_text((tiny_data / "train.jsonl").read_text() * 2, encoding="utf-8")
    data = ["--train", str(train), "--keep", str(keep), "--output", str(tmp_path / "run")]
    assert main(["check", "--model", str(tiny_folder), *data]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "dup: 78 rows are 26 distinct questions; copies count as one unit." in told
    assert "train: 80 rows are 40 distinct rows: 40 repeat another" in told
