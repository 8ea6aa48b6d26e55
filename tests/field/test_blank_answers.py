"""Answers without a visible character: nothing can be learned from them, and nothing be measured by them."""

import pytest

from retain.cli.main import main
from retain.data.examples import Example
from retain.data.item import PlainText
from retain.data.item_types import Choice, LabelledText, Match, Question, Request
from tiny import write_jsonl

BLANKS = ["", "  ", "\u00a0\n", "\u200b", "\ufeff\u2060", "\u3164", "\t\r\n", "\u2800"]
USER = {"role": "user", "content": "2+2?"}


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_answer_is_refused_wherever_it_stands(blank):
    answer = {"role": "assistant", "content": blank}
    rows = [
        (Example, {"messages": [USER, answer]}),
        (Example, {"prompt": "2+2?", "completion": blank}),
        (Example, {"prompt": [USER], "completion": [answer]}),
        (Example, {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": blank}]}]}),
        (Example, {"messages": [USER, {"role": "assistant", "content": f"<think>\nI add.\n</think>\n{blank}"}]}),
        (Choice, {"question": blank, "choices": ["a", "b"], "answer": 0}),
        (Choice, {"question": "q", "choices": [blank, "b"], "answer": 1}),
        (Question, {"question": blank, "answers": ["a"]}),
        (Question, {"question": "q", "answers": ["a", blank]}),
        (Question, {"question": "q", "answers": blank}),
        (LabelledText, {"text": blank, "label": "a"}),
        (LabelledText, {"text": "t", "label": blank}),
        (Match, {"query": "q", "match": blank}),
        (Request, {"prompt": blank, "harmful": True}),
        (PlainText, {"text": blank}),
    ]
    for form, row in rows:
        with pytest.raises(ValueError, match="is empty|no visible character"):
            form.parse(row)


def test_an_answer_is_blank_where_it_is_null_or_absent():
    for answer in ({"role": "assistant", "content": None}, {"role": "assistant"}):
        with pytest.raises(ValueError, match="completion is empty"):
            Example.parse({"messages": [USER, answer]})


def test_a_call_of_a_tool_is_an_answer():
    call = [{"function": {"name": "add", "arguments": "{}"}}]
    for content in ({"content": ""}, {"content": None}, {}, {"content": " "}):
        assert Example.parse({"messages": [USER, {"role": "assistant", "tool_calls": call, **content}]}).calls_tools


@pytest.mark.parametrize("text", ["0", ".", "\u200bx", "❤", "-", "ا"])
def test_what_is_visible_is_no_blank(text):
    assert Example.parse({"prompt": "p", "completion": text}).answer_text.strip("\u200b") == text.strip("\u200b")
    assert LabelledText.parse({"text": text, "label": text}).label == text


def test_an_empty_prompt_stays_allowed():
    assert Example.parse({"prompt": "", "completion": "x"}).prompt == ""


def test_check_names_the_line(tiny_folder, tiny_data, tmp_path, capsys):
    rows = [{"prompt": f"a b {n}", "completion": " c" if n else "\u00a0"} for n in range(8)]
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    given = ["--model", str(tiny_folder), "--train", str(train), "--test", str(tiny_data / "test.jsonl")]
    assert main(["check", *given, "--output", str(tmp_path / "run")]) == 2
    assert "line 1: the completion is empty" in " ".join(capsys.readouterr().err.split())
