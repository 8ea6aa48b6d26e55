"""Rows with tools as OpenAI's and Hugging Face's tools write them: they reach the template, or are refused by name."""

import json

import pytest

import chat_samples
from chat_samples import make_character_tokenizer
from retain.cli.main import main
from retain.data.examples import Example
from retain.data.forms import read_rows
from retain.data.tokens import encode_example
from retain.errors import InputError
from tiny import make_llama, write_jsonl

SCHEMA = {"name": "get_time", "description": "time in a town", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": SCHEMA}]
USER = {"role": "user", "content": "time in Rome?"}
RESULT = {"role": "tool", "content": "noon", "tool_call_id": "c1"}
ANSWER = {"role": "assistant", "content": "Noon."}
TEXT, MAPPING = '{"town": "Rome"}', {"town": "Rome"}
LEARNED = {
    "QWEN3": '<tool_call>\n{"name": "get_time", "arguments": {"town": "Rome"}}\n</tool_call><|im_end|>\n',
    "MISTRAL": '[TOOL_CALLS][{"name": "get_time", "arguments": {"town": "Rome"}}]<eos>',
    "DEEPSEEK_CALLS": '<|call|>get_time\n{"town": "Rome"}<|end|><eos>',
    "NAIVE_CALLS": '<call>get_time {"town": "Rome"}</call><eos>',
}
"""The call as each template writes it, and with it the end of the turn."""


def call(arguments=TEXT):
    return [{"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": arguments}}]


def calling(**fields):
    return {"role": "assistant", **fields}


def parted(template, messages, tools=TOOLS, **row):
    tokenizer = make_character_tokenizer(getattr(chat_samples, template, template))
    row = {"messages": messages, "tools": tools, **row} if tools is not None else {"messages": messages, **row}
    found = encode_example(tokenizer, Example.parse(row), 100_000)
    return tokenizer.decode(found.ids[: found.start]), tokenizer.decode(found.ids[found.start :])


@pytest.mark.parametrize("template", LEARNED)
@pytest.mark.parametrize("arguments", [TEXT, MAPPING], ids=["arguments are text", "arguments are an object"])
@pytest.mark.parametrize("content", [{"content": None}, {}, {"content": ""}], ids=["null", "absent", "empty"])
def test_a_call_without_content_is_learned_and_the_schema_is_in_the_prompt(template, arguments, content):
    before, after = parted(template, [USER, calling(tool_calls=call(arguments), **content)])
    assert after.lstrip("\n") == LEARNED[template]
    assert "time in a town" in before
    assert "None" not in before + after


@pytest.mark.parametrize("template", LEARNED)
def test_a_call_in_the_prompt_stands_there_with_its_result(template):
    before, after = parted(template, [USER, calling(content=None, tool_calls=call()), RESULT, ANSWER])
    assert "noon" in before
    assert "Rome" in before
    assert "{'town'" not in before
    assert after.strip().startswith("Noon.")


def test_openais_older_function_calls_are_the_same_rows():
    new = parted("QWEN3", [USER, calling(content=None, tool_calls=call()), RESULT, ANSWER])
    old = [USER, calling(content=None, function_call=call()[0]["function"]), {**RESULT, "role": "function"}, ANSWER]
    assert parted("QWEN3", old, tools=None, functions=[SCHEMA]) == new


@pytest.mark.parametrize("tools", [json.dumps(TOOLS), [SCHEMA]], ids=["JSON text", "bare schemas"])
def test_tools_as_text_or_bare_reach_the_template(tools):
    assert "time in a town" in parted("QWEN3", [USER, ANSWER], tools=tools)[0]


def test_no_tools_are_no_tools():
    plain = parted("QWEN3", [USER, ANSWER], tools=None)
    assert parted("QWEN3", [USER, ANSWER], tools=[]) == plain
    assert parted("QWEN3", [USER, ANSWER], tools=None, documents=None, functions=[]) == plain


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"tools": TOOLS}, '"tools", and the chat template does not render them'),
        ({"documents": [{"title": "a", "text": "b"}]}, '"documents", and the chat template does not render them'),
        ({"chat_template_kwargs": {"custom": "x"}}, "custom, which the chat template never reads"),
    ],
)
def test_what_the_template_would_ignore_is_refused_by_name(row, told):
    with pytest.raises(InputError, match=told):
        parted("PLAIN", [USER, ANSWER], **{"tools": None, **row})


def test_a_template_that_shows_tools_only_sometimes_is_found_out():
    blind = "{% if tools and false %}{{ tools }}{% endif %}" + chat_samples.PLAIN
    with pytest.raises(InputError, match="does not show get_time"):
        parted(blind, [USER, ANSWER])
    with pytest.raises(InputError, match="does not render tool calls as calls"):
        parted("{{ tools }}" + chat_samples.PLAIN, [USER, calling(content="", tool_calls=call()), RESULT, ANSWER])


def test_a_column_that_the_template_reads_is_not_ignored():
    template = "{{ persona }}" + chat_samples.PLAIN
    with pytest.raises(InputError, match="persona, which the chat template reads.*chat_template_kwargs"):
        parted(template, [USER, ANSWER], tools=None, persona="pirate")
    assert parted(template, [USER, ANSWER], tools=None, chat_template_kwargs={"persona": "pirate"})[0].startswith(
        "pirate"
    )
    assert parted("PLAIN", [USER, ANSWER], tools=None, persona="pirate", id=3) == parted("PLAIN", [USER, ANSWER], None)


def test_documents_reach_a_template_that_renders_them():
    template = "{% for d in documents or [] %}{{ d.title }}: {{ d.text }}\n{% endfor %}" + chat_samples.PLAIN
    assert parted(template, [USER, ANSWER], None, documents=[{"title": "Clock", "text": "noon"}])[0].startswith(
        "Clock: noon"
    )


def test_tools_and_template_arguments_are_part_of_what_an_item_is():
    plain, with_tools, otherwise = (
        Example.parse({"messages": [USER, ANSWER], **more}).content()
        for more in ({}, {"tools": TOOLS}, {"enable_thinking": False})
    )
    assert len({plain, with_tools, otherwise}) == 3
    assert plain == Example.parse({"messages": [USER, ANSWER], "id": 7}).content()


def test_content_in_text_parts_is_text():
    parts = [{"type": "text", "text": "time "}, {"type": "text", "text": "in Rome?"}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "Noon."}]}]
    assert parted("PLAIN", said, None) == parted("PLAIN", [USER, ANSWER], None)
    assert parted("PARTS", said, None)[1] == "Noon.<eos>"


MARKED = [
    [USER, {**ANSWER, "weight": 1}, USER, ANSWER],
    [USER, {**ANSWER, "weight": 0}],
    [USER, {**ANSWER, "train": False}],
]


@pytest.mark.parametrize("kind", ["tool_use", "thinking"])
def test_parts_of_another_makers_messages_are_told_how_to_write_them(kind):
    with pytest.raises(ValueError, match=f'"{kind}"; write calls of tools as "tool_calls"'):
        Example.parse(
            {"messages": [USER, {"role": "assistant", "content": [{"type": kind, "name": "f", "input": {}}]}]}
        )


@pytest.mark.parametrize("messages", MARKED)
def test_marks_of_turns_to_learn_that_are_not_followed_are_refused(messages):
    with pytest.raises(ValueError, match='has "(weight|train)": .* not followed'):
        Example.parse({"messages": messages})


def test_marks_that_say_what_is_done_anyway_are_taken():
    messages = [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1, "train": True}]
    assert parted("PLAIN", messages, None) == parted("PLAIN", [USER, ANSWER, USER, ANSWER], None)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": None, "completion": "x"}, 'field "prompt": expected text or a list of messages, found null'),
        (
            {"prompt": "x", "completion": 3},
            'field "completion": expected text or a list of messages, found the number 3',
        ),
        ({"messages": [{"role": "user", "content": None}, ANSWER]}, '"content" is null'),
        ({"messages": [{"role": "user"}, ANSWER]}, '"content" is missing'),
        ({"messages": [{"speaker": "human", "text": "x"}, ANSWER]}, '"role" is missing \\(found "speaker", "text"\\)'),
        ({"messages": [{"role": "bot", "content": "x"}, ANSWER]}, "\"role\" is text 'bot'; known are system"),
        ({"messages": [{"role": "user", "content": 5}, ANSWER]}, "text or a list of text parts, found the number 5"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]}, "learned as text alone"),
        ({"messages": [USER, calling(tool_calls=call("{town"))]}, 'tool call 1: "arguments": is no JSON'),
        ({"messages": [USER, calling(tool_calls=[{"function": "f"}])]}, "tool call 1: expected"),
        ({"messages": [USER, ANSWER], "tools": {"name": "f"}}, 'field "tools": expected a list of objects'),
        ({"messages": "hello"}, '"messages".* list of messages'),
        ({"messages": [USER, ANSWER], "chat_template_kwargs": {"chat_template": "x"}}, "cannot be given by a row"),
    ],
)
def test_what_is_wrong_is_said_of_rows_and_fields(tmp_path, row, told):
    problems = []
    read_rows(str(write_jsonl(tmp_path / "rows.jsonl", [row])), problems)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(problems[0])
    assert "line 1" in problems[0]
    assert not any(word in problems[0] for word in ("Input should", "tuple[", "pydantic", "prompt.str"))


def test_parquet_gives_no_call_the_keys_of_other_rows(tmp_path):
    """Arrow writes null where another row has a key: a schema, or a call, has it no more for that."""
    datasets = pytest.importorskip("datasets")
    of_town, of_day = ({"type": "object", "properties": {name: {"type": "string"}}} for name in ("town", "day"))
    time, date = ({**SCHEMA, "name": f"get_{name}"} for name in ("time", "date"))
    tools = [{"type": "function", "function": {**time, "parameters": of_town}}]
    other = [{"type": "function", "function": {**date, "parameters": of_day}}]
    called = [{"id": "c2", "type": "function", "function": {"name": "get_date", "arguments": {"day": 1}}}]
    rows = [
        {"messages": [USER, calling(content=None, tool_calls=call(MAPPING))], "tools": tools},
        {"messages": [USER, calling(content=None, tool_calls=called)], "tools": other},
    ]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    problems = []
    found = read_rows(str(tmp_path / "rows.parquet"), problems).items
    assert problems == []
    tokenizer = make_character_tokenizer(chat_samples.QWEN3)
    for item, row in zip(found, rows, strict=True):
        assert encode_example(tokenizer, item, 10_000) == encode_example(tokenizer, Example.parse(row), 10_000)


def test_check_tells_of_tools_that_the_models_template_ignores(tmp_path, capsys):
    tokenizer = make_character_tokenizer(chat_samples.PLAIN)
    make_llama(vocabulary=len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"messages": [{"role": "user", "content": f"time {n}?"}, ANSWER], "tools": TOOLS} for n in range(12)]
    train, test = write_jsonl(tmp_path / "a.jsonl", rows[:8]), write_jsonl(tmp_path / "b.jsonl", rows[8:])
    data = ["--train", str(train), "--test", str(test), "--max-length", "250", "--output", str(tmp_path / "run")]
    assert main(["check", "--model", str(tmp_path / "model"), *data]) == 2
    assert 'train, item 1: the row has "tools"' in " ".join(capsys.readouterr().err.split())
    template = tmp_path / "qwen.jinja"
    template.write_text(chat_samples.QWEN3, encoding="utf-8")
    assert main(["check", "--model", str(tmp_path / "model"), *data, "--template", str(template)]) == 0
