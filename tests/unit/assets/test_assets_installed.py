"""What `assets/prepare.py` installed: figures mean what they say only while task, knowledge and reference are apart."""

import json
from pathlib import Path

import pytest
from retain_assets.text import runs, words

ROOT = Path(__file__).parents[3] / ".assets"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "manifests" / "reference.json").exists(), reason="run python assets/prepare.py"),
]


def lines(name):
    return [json.loads(line) for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]


def eight_words(texts):
    return set().union(*(runs(text, 8) for text in texts))


def articles(name):
    return [
        example["prompt"].removeprefix("Article: ").partition("\n")[0] for example in lines(f"headlines/{name}.jsonl")
    ]


def test_train_and_test_share_no_headline_and_next_to_no_words():
    train, test = lines("headlines/train.jsonl"), lines("headlines/test.jsonl")
    assert (len(train), len(test)) == (600, 200)
    headlines = [tuple(words(example["completion"])) for example in train + test]
    assert len(set(headlines)) == len(headlines)
    shared = eight_words(articles("train")) & eight_words(articles("test"))
    assert len(shared) <= 3  # stock phrases: "for the victims of the Asian tsunami the"


def test_the_reference_text_shares_no_eight_words_with_the_task():
    reference = (ROOT / "reference.txt").read_text(encoding="utf-8").split("\n\n")
    assert 70 <= len(reference) <= 90
    assert not eight_words(reference) & eight_words(articles("train") + articles("test"))


def test_both_wordings_of_the_capitals_ask_the_same():
    statements, questions = lines("capitals.jsonl"), lines("capitals-qa.jsonl")
    assert len(statements) == 216
    assert [(item["choices"], item["answer"]) for item in statements] == [
        (item["choices"], item["answer"]) for item in questions
    ]
    assert all(len(set(item["choices"])) == 4 for item in statements)
