"""Two tokenizers: what differs is told in words, and what changes nothing is not."""

import pytest

from retain.hf.models.tokenizers import compare_tokenizers, highest_id
from tiny import make_text_tokenizer, make_tokenizer


def changed(change):
    tokenizer = make_tokenizer()
    change(tokenizer)
    return tokenizer


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.add_tokens(["<x>"]), "has 1 token more (<x>)"),
        (lambda t: setattr(t, "chat_template", None), "has no chat template"),
        (lambda t: setattr(t, "chat_template", "other"), "has another chat template"),
        (lambda t: setattr(t, "eos_token", "<|user|>"), "has another eos_token ('<|user|>' instead of '<eos>')"),
    ],
)
def test_a_difference_in_words(change, told):
    assert compare_tokenizers(make_tokenizer(), changed(change)).sentences == [told]


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda t: setattr(t, "pad_token", "<eos>"),
        lambda t: setattr(t, "padding_side", "left"),
        lambda t: setattr(t, "model_max_length", 7),
    ],
)
def test_what_changes_no_input_is_no_difference(change):
    assert compare_tokenizers(make_tokenizer(), changed(change)).is_none


def test_tokens_that_are_lost_and_ids_of_other_tokens():
    bigger = changed(lambda t: t.add_tokens(["<x>", "<y>"]))
    assert compare_tokenizers(bigger, make_tokenizer()).sentences == ["lacks 2 tokens (<x>, <y>)"]
    assert compare_tokenizers(make_tokenizer(), make_text_tokenizer()).conflicts


def test_text_that_is_split_otherwise():
    from tokenizers import normalizers

    other = changed(lambda t: setattr(t.backend_tokenizer, "normalizer", normalizers.Lowercase()))
    assert compare_tokenizers(make_tokenizer(), other).sentences == ["splits text otherwise"]


def test_the_highest_id_counts_added_tokens():
    known = highest_id(make_tokenizer())
    assert highest_id(changed(lambda t: t.add_tokens(["<x>"]))) == known + 1
