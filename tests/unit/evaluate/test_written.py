"""Generated tokens read as an answer: reasoning, ends, and what was cut off."""

import pytest

from chat_samples import make_character_tokenizer
from retain.evaluate.written import Written, opens, read_answer

TOKENIZER = make_character_tokenizer()
END = TOKENIZER.eos_token_id
SPECIAL = make_character_tokenizer(special=("<think>", "</think>"))
PLAIN_MARKS = make_character_tokenizer(special=())


def read(text, tokenizer=TOKENIZER, **how):
    return read_answer(tokenizer, tokenizer.encode(text, add_special_tokens=False), {tokenizer.eos_token_id}, **how)


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        ("Rome<eos>", {}, Written("Rome")),
        ("Rome", {}, Written("Rome", cut_off=True)),
        ("\n Rome \nOslo", {"extent": "first line"}, Written("Rome")),
        ("Rome, the", {"extent": "first line"}, Written("Rome, the")),
        ("   ", {"extent": "first line"}, Written("", cut_off=True)),
        ("I cannot", {"extent": "opening"}, Written("I cannot")),
        ("", {"extent": "opening"}, Written("", cut_off=True)),
        ("Rome\nOslo<eos><pad>", {}, Written("Rome\nOslo")),
    ],
)
def test_an_answer_ends_by_its_token_its_line_or_by_the_limit(text, how, expected):
    assert read(text, **how) == expected


@pytest.mark.parametrize("tokenizer", [SPECIAL, PLAIN_MARKS], ids=["marks are tokens", "marks are text"])
@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        ("<think>\nOslo? No.\n</think>\n\nRome<eos>", {}, Written("Rome")),
        ("Oslo? No.\n</think>\n\nRome<eos>", {"opened": True}, Written("Rome")),
        ("Oslo? No.</think>Rome<eos>", {}, Written("Rome")),
        ("<think>Oslo? No, since", {}, Written("", cut_off=True)),
        ("Oslo? No, since", {"opened": True}, Written("", cut_off=True)),
        ("Oslo? No.</think>Ro", {"opened": True}, Written("Ro", cut_off=True)),
        ("Rome<eos>", {"opened": True}, Written("Rome")),
        ("<think>Oslo?<eos>", {}, Written("")),
        ("<think>Oslo?", {"extent": "opening"}, Written("", cut_off=True)),
        ("<think>a</think>\n\nRome\nx", {"extent": "first line"}, Written("Rome")),
    ],
)
def test_reasoning_is_no_part_of_the_answer(tokenizer, text, how, expected):
    assert read(text, tokenizer, **how) == expected


def test_channels_of_gpt_oss_are_parted():
    text = "<|channel|>analysis<|message|>Oslo?<|end|><|start|>assistant<|channel|>final<|message|>Rome<eos>"
    assert read(text) == Written("Rome")
    assert read("<|channel|>analysis<|message|>Oslo?") == Written("", cut_off=True)


def test_a_prompt_tells_whether_it_opened_reasoning():
    encode = TOKENIZER.encode
    assert opens(TOKENIZER, encode("<|Assistant|><think>\n"))
    assert not opens(TOKENIZER, encode("<|Assistant|><think>\n\n</think>\n\n"))
    assert not opens(TOKENIZER, encode("what is <think> for?"))
