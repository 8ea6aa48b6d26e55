"""What is handed over as texts and tokenizer: a text alone is not read letter by letter."""

from types import SimpleNamespace

import pandas as pd
import pytest

import retain
from retain.errors import InputError
from tiny import make_tokenizer

TEXTS = ["a b c word1 word2", "d e f word3"]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.mark.parametrize(
    "given",
    [
        [{"text": text, "id": 1} for text in TEXTS],
        pd.DataFrame({"text": TEXTS}),
        pd.Series(TEXTS),
        iter(TEXTS),
        tuple(TEXTS),
    ],
)
def test_texts_and_rows_of_texts_are_the_same(tokenizer, given):
    expected = retain.text_batches(tokenizer, TEXTS)
    found = retain.text_batches(tokenizer, given)
    assert [batch["input_ids"].tolist() for batch in found] == [batch["input_ids"].tolist() for batch in expected]


def test_a_processor_brings_its_tokenizer(tokenizer):
    assert len(retain.text_batches(SimpleNamespace(tokenizer=tokenizer), TEXTS)) == 1


def test_a_tokenizer_that_keeps_its_rules_under_that_name_is_the_tokenizer():
    tokenizer = make_tokenizer()
    expected = retain.text_batches(tokenizer, TEXTS)
    tokenizer.tokenizer = object()
    (found,) = retain.text_batches(tokenizer, TEXTS)
    assert found["input_ids"].tolist() == expected[0]["input_ids"].tolist()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("a b c", "texts: one text was given, and a list of texts is expected"),
        (5, "texts: int was given"),
        ({"text": TEXTS}, "texts: dict was given"),
        (["a b", None], r"texts: number 2 is no text \(NoneType\)"),
        ([{"prompt": "a b"}], r"texts: number 1 is no text \(NoneType\)"),
        ([["a", "b"]], r"texts: number 1 is no text \(list\)"),
        ([], "none of the 0 texts has two tokens or more"),
    ],
)
def test_what_are_no_texts_is_told(tokenizer, given, told):
    with pytest.raises(InputError, match=told):
        retain.text_batches(tokenizer, given)


def test_what_is_no_tokenizer_is_told(tokenizer):
    with pytest.raises(InputError, match="tokenizer: 'gpt2' was given, and a loaded one is expected"):
        retain.text_batches("gpt2", TEXTS)
    with pytest.raises(InputError, match="tokenizer: list was given; give the tokenizer first"):
        retain.text_batches(TEXTS, tokenizer)


def test_one_name_is_not_read_letter_by_letter(tokenizer):
    with pytest.raises(InputError, match="names: one text was given"):
        retain.text_prototypes(None, tokenizer, "cat")
