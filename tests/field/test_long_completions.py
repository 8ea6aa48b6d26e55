"""Completions longer than the window: the prompt stays, what is cut is counted, and a cut one teaches no end."""

from __future__ import annotations

import pytest

from retain.cli.main import main
from retain.data.examples import Example
from retain.data.preprocess import TextPreprocessor
from retain.records.result import read_result
from tiny import make_tokenizer, write_jsonl

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENIZER = make_tokenizer()
WORDS = " ".join(LETTERS * 24)  # 624 tokens


def encoded(example, max_length=512):
    (row,) = TextPreprocessor(TOKENIZER, max_length).encode([Example.parse(example)])
    return row


def prompt_of(row):
    return TOKENIZER.decode(row.ids[: row.start])


@pytest.mark.parametrize(
    "example",
    [
        {"prompt": "word1 word2 word3 word4", "completion": " " + WORDS},
        {"messages": [{"role": "user", "content": "word1 word2 word3 word4"}, {"role": "assistant", "content": WORDS}]},
    ],
)
def test_a_story_of_600_words_is_learned_behind_its_whole_prompt(example):
    row = encoded(example)
    assert "word1 word2 word3 word4" in prompt_of(row)
    assert len(row.ids) == 512
    assert (row.prompt_cut, row.completion_cut) == (False, True)
    assert row.ids[-1] != TOKENIZER.eos_token_id, "no end is learned where there is none"


def test_a_long_document_loses_its_start_and_the_short_summary_nothing():
    row = encoded({"prompt": f"word1 {WORDS} word2", "completion": " y z"})
    assert TOKENIZER.decode(row.ids[row.start :]) == "y z <eos>"
    assert prompt_of(row).endswith("word2")
    assert (len(row.ids), row.prompt_cut, row.completion_cut) == (512, True, False)


def test_where_both_are_long_each_keeps_half():
    row = encoded({"prompt": WORDS, "completion": " " + WORDS}, 100)
    assert (row.start, len(row.ids)) == (50, 100)
    assert (row.prompt_cut, row.completion_cut) == (True, True)


def test_check_and_record_count_both_kinds_of_cut(tiny_folder, tmp_path, capsys):
    rows = [{"prompt": f"word{i} word2", "completion": " " + " ".join(LETTERS[: 10 + i])} for i in range(8)]
    rows += [{"prompt": f"word{i} {LETTERS[:9]} " + " ".join(LETTERS), "completion": " z"} for i in range(8, 12)]
    test = [{"prompt": f"word{i} word3", "completion": " y"} for i in range(12, 16)]
    flags = [
        "--model", str(tiny_folder), "--train", str(write_jsonl(tmp_path / "train.jsonl", rows)),
        "--test", str(write_jsonl(tmp_path / "test.jsonl", test)), "--output", str(tmp_path / "run"),
        "--max-length", "12",
    ]  # fmt: skip
    assert main(["check", *flags]) == 0
    counted = (
        "12 of 12 {} longer than 12 tokens and {} cut. Of these, 4 lose the start of their prompt and 8 lose the end"
    )
    assert f"train: {counted.format('are', 'will be')}" in capsys.readouterr().out
    quick = ["--max-steps", "1", "--method", "lora", "--rank", "2", "--drift", "false", "--generate", "0"]
    assert main(["tune", *flags, *quick]) == 0
    notes = " ".join(read_result(tmp_path / "run" / "result.json").provenance.notes)
    assert counted.replace("12 of 12 {}", "12 of 12 training examples {}").format("were", "were") in notes
    assert "no end token is learned from these" in notes


def test_a_completion_of_a_million_characters_is_read_in_a_moment():
    row = encoded({"prompt": "word1 word2", "completion": " " + "ab" * 500_000})
    assert "word1 word2" in prompt_of(row)
    assert row.completion_cut
