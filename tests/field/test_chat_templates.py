"""Chat templates as models bring them: open and empty reasoning blocks, dates, trimming, parts, arguments, files."""

import json

import pytest

import chat_samples
from chat_samples import make_character_tokenizer
from retain.cli.main import main
from retain.data.examples import Example
from retain.data.template_source import give_template, template_traits, with_arguments
from retain.data.tokens import encode_example, encode_prompt
from retain.errors import InputError
from tiny import make_llama, write_jsonl

USER = {"role": "user", "content": "2+2?"}
OWN = "<think>\nI add.\n</think>\n\n4"


def turn(content, **more):
    return {"role": "assistant", "content": content, **more}


def parted(template, *turns, **row):
    """What is given and what is learned, as text."""
    tokenizer = make_character_tokenizer(getattr(chat_samples, template))
    found = encode_example(tokenizer, Example.parse({"messages": [*turns], **row}), 10_000)
    return tokenizer.decode(found.ids[: found.start]), tokenizer.decode(found.ids[found.start :])


@pytest.mark.parametrize(
    ("template", "given", "learned"),
    [
        ("PLAIN", "<|user|>2+2?<eos><|assistant|>", "4<eos>"),
        ("QWEN3", "<|im_start|>assistant\n<think>\n\n</think>\n\n", "4<|im_end|>\n"),
        ("QWEN3_RAW", "<|im_start|>assistant\n<think>\n\n</think>\n\n", "4<|im_end|>\n"),
        ("QWEN35", "<|im_start|>assistant\n<think>\n\n</think>\n\n", "4<|im_end|>\n"),
        ("R1", "<|User|>2+2?<|Assistant|>", "4<eos>"),
        ("LLAMA3", "assistant<|end_header_id|>\n\n", "4<|eot_id|>"),
        ("GEMMA", "<start_of_turn>model\n", "4<end_of_turn>\n"),
        ("MISTRAL", "[INST] 2+2?[/INST]", " 4<eos>"),
        ("HARMONY", "<|start|>assistant", "<|channel|>final<|message|>4<|return|>"),
        ("PARTS", "<|user|>2+2?<eos><|assistant|>", "4<eos>"),
    ],
)
def test_a_block_that_the_template_puts_in_is_prompt_and_the_answer_is_learned(template, given, learned):
    before, after = parted(template, USER, turn("4"))
    assert before.endswith(given)
    assert after == learned


@pytest.mark.parametrize(
    ("template", "learned"),
    [
        ("PLAIN", f"{OWN}<eos>"),
        ("QWEN3", f"{OWN}<|im_end|>\n"),
        ("QWEN3_RAW", f"{OWN}<|im_end|>\n"),
        ("QWEN35", "I add.\n</think>\n\n4<|im_end|>\n"),
        ("R1", "I add.\n</think>\n\n4<eos>"),
        ("GEMMA", f"{OWN}<end_of_turn>\n"),
    ],
)
def test_rows_that_bring_their_reasoning_are_learned_as_written_and_once(template, learned):
    before, after = parted(template, USER, turn(OWN))
    assert after == learned
    assert (before + after).count("<think>") == 1
    beside = {"PLAIN", "GEMMA"}  # these know no reasoning, so what stands beside the content has no form
    if template not in beside:
        assert parted(template, USER, turn("4", reasoning_content="I add.")) == (before, after)


def test_reasoning_under_other_names_reaches_the_template_that_reads_it():
    analysis = "<|channel|>analysis<|message|>I add.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>"
    for key in ("thinking", "reasoning", "reasoning_content"):
        assert parted("HARMONY", USER, turn("4", **{key: "I add."}))[1] == analysis
    with pytest.raises(InputError, match="knows no reasoning.*<think>"):
        parted("PLAIN", USER, turn("4", reasoning_content="I add."))


def test_reasoning_is_not_learned_behind_a_mark_that_closes_it():
    assert parted("DEEPSEEK_V31", USER, turn("4")) == ("<bos><|User|>2+2?<|Assistant|></think>", "4<eos>")
    for kwargs in ({}, {"thinking": False}):
        before, after = parted("DEEPSEEK_V31", USER, turn(OWN), chat_template_kwargs=kwargs)
        assert (before, after) == ("<bos><|User|>2+2?<|Assistant|>", f"{OWN}<eos>")
    for answer in (turn(OWN), turn("4", reasoning_content="I add.")):
        before, after = parted("DEEPSEEK_V31", USER, answer, chat_template_kwargs={"thinking": True})
        assert (before[-7:], after) == ("<think>", "I add.\n</think>\n\n4<eos>")


@pytest.mark.parametrize("key", ["thinking", "reasoning_content"])
def test_reasoning_is_learned_where_the_template_drops_that_of_an_earlier_call(key):
    call = turn("", tool_calls=[{"function": {"name": "add", "arguments": '{"a": 2}'}}], **{key: "I need a sum."})
    result = {"role": "tool", "content": "4"}
    before, after = parted("HARMONY_CALLS", USER, call, result, turn("4", **{key: "It said 4."}))
    assert "I need a sum" not in before
    assert before.endswith("<|start|>tool<|message|>4<|end|><|start|>assistant")
    assert after == (
        "<|channel|>analysis<|message|>It said 4.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>"
    )


@pytest.mark.parametrize(
    ("template", "rows", "told"),
    [
        ("R1", [OWN, "4"], "opens a reasoning block in every prompt, and 6 of 12 rows looked at bring no reasoning"),
        ("DEEPSEEK_V31", ["4", OWN], "closes the reasoning at the end of every prompt, and 6 of 12 rows"),
        ("QWEN3", ["4", OWN], "6 of 12 rows looked at bring no reasoning, and the chat template puts an empty"),
        ("QWEN3", [OWN, OWN], ""),
    ],
)
def test_rows_whose_prompt_is_another_at_inference_are_remarked_upon(
    chat_model, tmp_path, capsys, template, rows, told
):
    source = tmp_path / "template.jinja"
    source.write_text(getattr(chat_samples, template))
    turns = [[{"role": "user", "content": f"{n}+1?"}, turn(rows[n % 2])] for n in range(12)]
    train = write_jsonl(tmp_path / "mixed.jsonl", [{"messages": one} for one in turns])
    (tmp_path / "text.txt").write_text("a b c d e f\n" * 50)
    flags = [
        "--model",
        str(chat_model),
        "--train",
        str(train),
        "--template",
        str(source),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(["check", *flags, "--held-out-text", str(tmp_path / "text.txt")]) == 0
    out = capsys.readouterr().out
    assert told in out
    assert told or "reasoning" not in out


def test_a_template_that_shows_no_calls_is_told_for_that_in_every_form():
    calls = turn(None, tool_calls=[{"function": {"name": "add", "arguments": '{"a": 2}'}}])
    with pytest.raises(InputError, match=r"does not render tool calls as calls \(add\)"):
        parted("LFM", USER, calls)


def test_reasoning_dropped_from_earlier_turns_is_left_alone():
    before, after = parted("R1", USER, turn(OWN), USER, turn("5"))
    assert before == "<bos><|User|>2+2?<|Assistant|>\n\n4<eos><|User|>2+2?<|Assistant|>"
    assert after == "5<eos>"


def test_a_template_that_trims_learns_what_it_shows():
    system = {"role": "system", "content": " Be short. "}
    assert parted("LLAMA3", system, USER, turn(" 4\n"))[1] == "4<|eot_id|>"
    assert parted("GEMMA", USER, turn("  4  "))[1] == "4<end_of_turn>\n"


def test_an_answer_that_looks_like_a_mark_is_not_taken_for_one():
    for answer in ("<b>4</b>", "Close it with </think>", "< 5"):
        assert parted("QWEN3_RAW", USER, turn(answer))[1] == f"{answer}<|im_end|>\n"
        assert parted("R1", USER, turn("<b>4</b>"))[1] == "<b>4</b><eos>"


def test_roles_that_a_template_leaves_out_are_told_or_taken_for_the_system():
    developer = {"role": "developer", "content": "Be short."}
    assert "<|im_start|>developer\nBe short." in parted("QWEN3", developer, USER, turn("4"))[0]
    assert parted("R1", developer, USER, turn("4"))[0].startswith("<bos>Be short.<|User|>")
    with pytest.raises(InputError, match="System role not supported"):
        parted("GEMMA", developer, USER, turn("4"))
    asked = [USER, turn("", tool_calls=[{"function": {"name": "add", "arguments": "{}"}}])]
    with pytest.raises(InputError, match="must alternate"):
        parted("GEMMA", *asked, {"role": "tool", "content": "4"}, turn("4"))
    with pytest.raises(InputError, match=r'leaves out messages of the role "tool"'):
        parted("R1", *asked, {"role": "tool", "content": "4"}, turn("4"))


def test_the_written_prompt_is_the_templates_generation_prompt():
    tokenizer = make_character_tokenizer(chat_samples.R1)
    ids = encode_prompt(tokenizer, Example.parse({"messages": [USER, turn("4")]}), 1000).ids
    assert tokenizer.decode(ids) == "<bos><|User|>2+2?<|Assistant|><think>\n"


def test_arguments_go_with_the_template_and_a_rows_own_go_before():
    tokenizer = make_character_tokenizer(chat_samples.QWEN3)
    give_template(tokenizer, None, {"enable_thinking": False})
    example = Example.parse({"messages": [USER, turn("4")]})
    assert tokenizer.decode(encode_prompt(tokenizer, example, 1000).ids).endswith("<think>\n\n</think>\n\n")
    for row in ({"enable_thinking": True}, {"chat_template_kwargs": {"enable_thinking": True}}):
        own = Example.parse({"messages": [USER, turn("4")], **row})
        assert tokenizer.decode(encode_prompt(tokenizer, own, 1000).ids).endswith("assistant\n")


@pytest.mark.parametrize("value", [True, None, 3, 0.5, 'a "b"\n{{ c }} \\ ü 😀', [1, None, "x"], {"k": [True]}])
def test_any_json_value_can_be_an_argument(value):
    tokenizer = make_character_tokenizer("{{ x | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}")
    give_template(tokenizer, None, {"x": value})
    text = tokenizer.apply_chat_template([{"role": "user", "content": "!"}], tokenize=False)
    assert json.loads(text.removesuffix("!")) == value
    assert with_arguments(tokenizer.chat_template, {"x": value}) == tokenizer.chat_template


def test_arguments_leave_the_white_space_of_a_template_as_it_is():
    source = "\n {% for m in messages %}{{ m.content }}{% endfor %}{{ x }}"
    tokenizer = make_character_tokenizer(source)
    plain = tokenizer.apply_chat_template([{"role": "user", "content": "!"}], tokenize=False)
    give_template(tokenizer, None, {"x": ""})
    assert tokenizer.apply_chat_template([{"role": "user", "content": "!"}], tokenize=False) == plain


def test_a_templates_traits_are_found_by_asking_it():
    assert template_traits(chat_samples.LLAMA3).writes_date
    assert template_traits(chat_samples.PARTS).wants_parts
    assert template_traits(chat_samples.R1).drops == {"developer", "tool"}
    assert template_traits(chat_samples.GEMMA).refuses == {"system", "developer", "tool"}
    assert {"enable_thinking", "tools"} <= template_traits(chat_samples.QWEN3).reads
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert template_traits(marked).reads == {"messages"}


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "model"
    tokenizer = make_character_tokenizer(chat_samples.QWEN3)
    make_llama(vocabulary=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sums")
    rows = [{"messages": [{"role": "user", "content": f"{n}+{n}?"}, turn(str(2 * n))]} for n in range(12)]
    return write_jsonl(folder / "train.jsonl", rows[:8]), write_jsonl(folder / "test.jsonl", rows[8:])


def check(model, train, test, *more):
    fixed = ["--model", str(model), "--train", str(train), "--test", str(test), "--max-length", "200"]
    return main(["check", *fixed, "--output", str(train.parent / "run"), *more])


def test_template_and_arguments_are_flags(chat_model, sums, tmp_path, capsys):
    file = tmp_path / "mine.jinja"
    file.write_text(chat_samples.R1, encoding="utf-8")
    assert check(chat_model, *sums, "--template-arguments", "enable_thinking=false") == 0
    assert check(chat_model, *sums, "--template", str(file)) == 0
    assert "opens a reasoning block" in capsys.readouterr().out
    file.write_text(chat_samples.LLAMA3, encoding="utf-8")
    assert check(chat_model, *sums, "--template", str(file)) == 0
    assert "day's date" in capsys.readouterr().out
    assert check(chat_model, *sums, "--template", str(file), "--template-arguments", "date_string=1 May 2026") == 0
    assert "day's date" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--template", "none.jinja"], "none.jinja cannot be read"),
        (
            ["--template-arguments", "enable_thoughts=false"],
            "never reads enable_thoughts; its own arguments are: enable",
        ),
        (["--template-arguments", "enable_thinking"], "no NAME=VALUE"),
        (["--template-arguments", "a=1", "a=2"], "given twice"),
        (["--template", "{% for m in %}"], "no chat template that Jinja reads"),
    ],
)
def test_a_template_or_argument_that_cannot_be_used_is_told(chat_model, sums, capsys, flags, told):
    assert check(chat_model, *sums, *flags) == 2
    said = capsys.readouterr().err
    assert told in " ".join(said.split())
    assert "Traceback" not in said


def test_rows_that_the_template_refuses_are_counted(chat_model, sums, tmp_path, capsys):
    file = tmp_path / "gemma.jinja"
    file.write_text(chat_samples.GEMMA, encoding="utf-8")
    system = {"role": "system", "content": "Be short."}
    rows = [
        {"messages": [*([system] if n % 2 else []), {"role": "user", "content": f"{n}?"}, turn("yes")]}
        for n in range(9)
    ]
    train = write_jsonl(tmp_path / "mixed.jsonl", rows)
    assert check(chat_model, train, sums[1], "--template", str(file)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "train, item 2: the model's chat template refuses these messages: System role not supported" in said
    assert "train: 3 others are refused too, of 9 items." in said
