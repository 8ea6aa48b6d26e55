import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.data.examples import Example
from retain.data.item_types import Choice
from retain.data.tokens import (
    CHARACTERS_A_TOKEN,
    IGNORED,
    cut_to,
    encode_choice,
    encode_example,
    encode_prompt,
    held_out_windows,
    pad,
    text_windows,
)
from retain.errors import InputError
from tiny import make_tokenizer

TOKENIZER = make_tokenizer()


def test_only_the_completion_is_learned_and_it_ends():
    row = encode_example(TOKENIZER, Example(prompt="a b", completion=" c"), 16)
    a, b, c = TOKENIZER.convert_tokens_to_ids(["a", "b", "c"])
    assert row.ids == (a, b, c, TOKENIZER.eos_token_id)
    assert row.labels == [IGNORED, IGNORED, c, TOKENIZER.eos_token_id]
    assert not row.truncated


def test_messages_go_through_the_template():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    row = encode_example(TOKENIZER, Example.parse({"messages": turns}), 16)
    assert TOKENIZER.decode(row.ids) == "<|user|> a <eos> <|assistant|> b <eos>"
    assert TOKENIZER.decode(row.ids[row.start :]) == "b <eos>"


def test_messages_without_a_template_are_refused():
    bare = make_tokenizer()
    bare.chat_template = None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(InputError, match="chat template"):
        encode_example(bare, Example.parse({"messages": turns}), 16)


def test_a_template_that_changes_the_prompt_is_parted_where_the_answer_begins():
    odd = make_tokenizer()
    odd.chat_template = (
        "{% if messages | length > 1 %}z {% endif %}{% for m in messages %}{{ m['content'] }} {% endfor %}"
    )
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    row = encode_example(odd, Example.parse({"messages": turns}), 16)
    assert [odd.decode(row.ids[: row.start]), odd.decode(row.ids[row.start :])] == ["z a", "b"]


def test_a_template_that_does_not_show_the_answer_is_refused():
    odd = make_tokenizer()
    odd.chat_template = "{% for m in messages %}{{ m['role'] }} {% endfor %}"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(InputError, match="answer"):
        encode_example(odd, Example.parse({"messages": turns}), 16)


def test_a_prompt_that_takes_more_than_half_loses_its_start_and_it_is_told():
    example = Example(prompt="a b c d e", completion=" y z")
    row = encode_example(TOKENIZER, example, 5)
    assert TOKENIZER.decode(row.ids) == "d e y z <eos>"
    assert (row.prompt_cut, row.completion_cut, row.truncated) == (True, False, True)
    assert TOKENIZER.decode(encode_prompt(TOKENIZER, example, 2).ids) == "d e"
    assert encode_prompt(TOKENIZER, example, 2).prompt_cut
    assert not encode_prompt(TOKENIZER, example, 5).prompt_cut
    tiny = encode_example(TOKENIZER, example, 2)
    assert TOKENIZER.decode(tiny.ids) == "e y"


def test_a_completion_that_takes_more_than_half_loses_its_end_and_not_the_prompt_its_words():
    row = encode_example(TOKENIZER, Example(prompt="a b c", completion=" u v w x y z"), 8)
    assert TOKENIZER.decode(row.ids) == "a b c u v w x y"
    assert (row.start, row.prompt_cut, row.completion_cut) == (3, False, True)
    both = encode_example(TOKENIZER, Example(prompt="a b c d e f g", completion=" t u v w x y z"), 8)
    assert TOKENIZER.decode(both.ids) == "d e f g t u v w"
    assert (both.start, both.prompt_cut, both.completion_cut) == (4, True, True)


def test_of_a_text_that_is_far_too_long_what_counts_is_tokenised():
    far = CHARACTERS_A_TOKEN * 8
    example = Example(prompt="a " * far + "b c d", completion=" x y" + " z" * far)
    row = encode_example(TOKENIZER, example, 8)
    assert TOKENIZER.decode(row.ids) == "a b c d x y z z"
    assert (row.prompt_cut, row.completion_cut) == (True, True)
    prompt = encode_prompt(TOKENIZER, example, 3)
    assert (TOKENIZER.decode(prompt.ids), prompt.prompt_cut) == ("b c d", True)
    blank = encode_prompt(TOKENIZER, Example(prompt="a" + " " * far + "b", completion=" c"), 8)
    assert (TOKENIZER.decode(blank.ids), blank.prompt_cut) == ("b", True)


def with_beginning():
    """The same words, with a beginning token that the tokenizer puts before every text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    bos = ("<bos>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    return tokenizer


def test_a_beginning_token_stands_before_every_text_once():
    tokenizer = with_beginning()
    example = Example(prompt="a b c d e", completion=" y z")
    assert tokenizer.decode(encode_example(tokenizer, example, 64).ids) == "<bos> a b c d e y z <eos>"
    assert tokenizer.decode(encode_example(tokenizer, example, 6).ids) == "<bos> d e y z <eos>"
    assert tokenizer.decode(encode_prompt(tokenizer, example, 3).ids) == "<bos> d e"
    windows = held_out_windows(tokenizer, "a b c d", window=2, max_tokens=9)
    assert [tokenizer.decode(window) for window in windows] == ["<bos> a b", "<bos> c d"]


def test_all_choices_see_the_same_part_of_a_long_question():
    item = Choice(question="a b c d e f", choices=("x", "x y z"), answer=0)
    rows = encode_choice(TOKENIZER, item, chat=False, max_length=6)
    assert [TOKENIZER.decode(row.ids[: row.start]) for row in rows] == ["d e f", "d e f"]


def test_an_empty_prompt_begins_with_a_border():
    row = encode_example(TOKENIZER, Example(prompt="", completion="a b"), 16)
    assert TOKENIZER.decode(row.ids) == "<eos> a b <eos>"
    assert row.start == 1


def test_a_template_that_refuses_the_messages_is_an_input_error():
    strict = make_tokenizer()
    strict.chat_template = "{{ raise_exception('roles must alternate') }}"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(InputError, match="roles must alternate"):
        encode_example(strict, Example.parse({"messages": turns}), 16)


GEMMA = (
    "{% if messages[0].role in ('system', 'developer') %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<|' + m.role + '|> ' + m.content + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|> ' }}{% endif %}"
)


@pytest.mark.parametrize(
    "row",
    [
        {
            "system": "c",
            "prompt": [{"role": "user", "content": "a"}],
            "completion": [{"role": "assistant", "content": "b"}],
        },
        {"system_prompt": "c", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": r, "content": c} for r, c in (("developer", "c"), ("user", "a"), ("assistant", "b"))]},
    ],
)
def test_a_role_that_the_template_refuses_is_named_with_a_cure(row):
    gemma = make_tokenizer()
    gemma.chat_template = GEMMA
    with pytest.raises(InputError, match=r"not supported; .* role \"system\": put its text into a user's message$"):
        encode_example(gemma, Example.parse(row), 16)


def test_a_refusal_for_another_reason_gets_no_cure_of_roles():
    strict = make_tokenizer()
    strict.chat_template = GEMMA + "{% if messages[1].role == 'user' %}{{ raise_exception('two users') }}{% endif %}"
    turns = [{"role": role, "content": "a"} for role in ("user", "user", "assistant")]
    with pytest.raises(InputError, match=r"two users$"):
        encode_example(strict, Example.parse({"messages": turns}), 16)


def test_choices_share_their_question():
    item = Choice(question="a b ", choices=("c", "d e"), answer=0)
    plain = encode_choice(TOKENIZER, item, chat=False, max_length=16)
    assert [TOKENIZER.decode(row.ids[: row.start]) for row in plain] == ["a b", "a b"]
    assert [TOKENIZER.decode(row.ids[row.start :]) for row in plain] == ["c", "d e"]
    chat = encode_choice(TOKENIZER, item, chat=True, max_length=16)
    assert TOKENIZER.decode(chat[1].ids) == "<|user|> a b <eos> <|assistant|> d e"


def test_windows_cover_the_text_without_overlap():
    windows = held_out_windows(TOKENIZER, "a b c d e f g", window=3, max_tokens=100)
    assert [TOKENIZER.decode(window) for window in windows] == ["a b c", "d e f"]
    assert held_out_windows(TOKENIZER, "a b c d", window=3, max_tokens=2) == [windows[0][:2]]


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=5), st.booleans())
def test_padding_is_rectangular_and_keeps_the_sequence(rows, left):
    padded = pad(rows, 0, left=left)
    assert len({len(row) for row in padded}) == 1
    for row, full in zip(rows, padded, strict=True):
        assert (full[len(full) - len(row) :] if left else full[: len(row)]) == row


def test_sequences_are_cut_to_a_number_of_tokens():
    assert cut_to([[1, 2], [3, 4, 5], [6]], 4) == [[1, 2], [3, 4]]


def test_a_long_text_is_read_in_windows_each_with_the_beginning_token():
    assert [TOKENIZER.decode(row) for row in text_windows(TOKENIZER, "a b c d e", 2)] == ["a b", "c d", "e"]
    tokenizer = with_beginning()
    assert [tokenizer.decode(row) for row in text_windows(tokenizer, "a b c", 2)] == ["<bos> a", "<bos> b", "<bos> c"]
    assert text_windows(TOKENIZER, "", 2) == []
