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


def made(name):
    return pytest.mark.skipif(not (ROOT / "manifests" / f"{name}.json").exists(), reason=f"run prepare.py {name}")


@made("topics")
def test_topics_share_no_opening_and_are_balanced():
    train, test = lines("topics/train.jsonl"), lines("topics/test.jsonl")
    assert (len(train), len(test)) == (800, 400)
    texts = [row["text"] for row in train + test]
    assert len(set(texts)) == len(texts)
    assert {sum(row["label"] == label for row in test) for label in {row["label"] for row in test}} == {80}


@made("valence")
def test_films_learnt_and_films_asked_share_no_eight_words():
    train, test = lines("valence/train.jsonl"), lines("valence/movies.jsonl")
    assert (len(train), len(test)) == (1200, 300)
    assert {row["domain"] for row in train} == {"movies"}
    assert not eight_words(row["text"] for row in train) & eight_words(row["text"] for row in test)


@made("emoji")
def test_no_emoji_that_is_asked_was_learnt_in_any_style():
    train = {row["group"] for row in lines("emoji/google-train.jsonl")}
    tests = [[row["group"] for row in lines(f"emoji/{style}-test.jsonl")] for style in ("google", "twitter")]
    assert tests[0] == tests[1]
    assert len(train) == 760
    assert not train & set(tests[0])


@made("glosses")
def test_glosses_are_disjoint_by_word_and_by_definition():
    rows = lines("glosses/train.jsonl") + lines("glosses/test.jsonl")
    assert len(rows) == len({row["prompt"] for row in rows}) == len({row["completion"] for row in rows}) == 1100
