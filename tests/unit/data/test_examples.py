import pytest

from retain.data.examples import Example
from retain.data.item_types import Choice


def test_prompt_and_completion_are_taken_as_they_are():
    example = Example.parse({"prompt": "Say hi:", "completion": " hi", "source": "ignored"})
    assert (example.prompt_text, example.completion_text, example.is_chat) == ("Say hi:", " hi", False)


def test_the_last_message_is_what_is_learned():
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    example = Example.parse({"messages": turns})
    assert example.is_chat
    assert example.prompt_text == "user: hi"
    assert example.completion_text == "assistant: hello"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "a"}, '"completion" missing'),
        ({"text": "a"}, '"prompt" and "completion" missing or empty (found "text")'),
        ({"prompt": "a", "completion": "  "}, "nothing to learn"),
        ({"prompt": 3, "completion": "b"}, "prompt"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "at least two"),
        ({"messages": [{"role": "assistant", "content": "x"}, {"role": "user", "content": "hi"}]}, 'role "assistant"'),
    ],
)
def test_a_bad_example_says_what_is_wrong(row, told):
    with pytest.raises(ValueError, match=".") as error:
        Example.parse(row)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "q", "choices": ["a", "b"]}, '"answer" missing'),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "answer is 2, but there are 2 choices"),
        ({"question": "q", "choices": ["a", "b"], "answer": -1}, "answer is -1"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "choices"),
        ({"question": "q", "choices": ["a", "a"], "answer": 0}, "same text"),
        ({"question": "", "choices": ["a", "b"], "answer": 0}, "question"),
    ],
)
def test_a_bad_choice_says_what_is_wrong(row, told):
    with pytest.raises(ValueError, match=".") as error:
        Choice.parse(row)
    assert told in str(error.value)
