"""Rows as well-known data sets have them: read as they are meant, or told what to do."""

import json

import pytest

from retain.data.columns import spread_choices, suggestions
from retain.data.forms import FORMS, LEARNED, read_rows
from retain.data.numbers import classes_told, whole_scale_told

LONG = "It was a dark and stormy night"
TALK = [{"role": "user", "content": "Hello there"}, {"role": "assistant", "content": "Hello"}]


@pytest.fixture
def read(tmp_path):
    def read(rows, columns=""):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        problems: list[str] = []
        return read_rows(f"{path}{columns}", problems, forms=LEARNED), problems

    return read


@pytest.mark.parametrize(
    ("row", "note"),
    [
        ({"prompt": "a", "completion": "b", "context": LONG}, 'into "prompt"'),
        ({"prompt": "a", "completion": "b", "system": "pirate"}, 'into "prompt"'),
        ({"prompt": "a", "completion": "b", "history": [["short", "words"]]}, 'into "prompt"'),
        ({"prompt": "a", "completion": "b", "notes": {"en": [LONG]}}, 'into "prompt"'),
        ({"messages": TALK, "passage": LONG}, 'into "messages"'),
        ({"instruction": "a", "output": "b", "query": LONG}, 'into "prompt"'),
        ({"text": "a", "label": 1, "title": LONG}, 'into "text", or name it "text_pair"'),
        ({"text": "a", "text_pair": "b", "label": 1, "title": LONG}, 'depends on it, write it into "text"'),
        ({"question": "a", "choices": ["x", "y"], "answer": 0, "article": LONG}, 'into "question"'),
    ],
)
def test_a_text_that_nothing_reads_is_told(read, row, note):
    found, problems = read([row] * 3)
    assert not problems
    (told,) = [one for one in found.notes if "not read" in one]
    assert told.endswith(note)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": f"{LONG}. And then?", "completion": "b", "context": LONG},
        {"prompt": "a b c", "completion": "d e f", "text": "### a b c ### d e f"},
        {
            "prompt": "a",
            "completion": "b",
            "context": None,
            "source": "stack exchange",
            "id": "1",
            "date": "2024-01-01 10:00",
        },
        {"prompt": "a", "completion": "b", "context": " "},
        {"conversations": json.dumps([{"from": "human", "value": LONG}, {"from": "gpt", "value": LONG}])},
        {"messages": TALK, "tools": json.dumps([{"type": "function", "function": {"name": "f", "description": LONG}}])},
        {"text": "a", "label": 1, "label_text": "very good"},
    ],
)
def test_what_is_read_or_no_text_is_not_told(read, row):
    found, problems = read([row] * 3)
    assert not problems
    assert not [one for one in found.notes if "not read" in one]


def test_a_text_in_few_rows_is_not_told(read):
    rows = [{"prompt": "a", "completion": "b", **({"comment": LONG} if number == 0 else {})} for number in range(3)]
    assert not read(rows)[0].notes


@pytest.mark.parametrize("key", ["system", "system_prompt"])
@pytest.mark.parametrize(
    "row", [{"messages": TALK}, {"prompt": TALK[:1], "completion": TALK[1:]}, {"conversations": TALK}]
)
def test_a_system_column_begins_the_conversation(read, key, row):
    found, problems = read([{**row, key: "Speak as a pirate."}])
    assert not problems
    assert [turn.role for turn in found.items[0].prompt] == ["system", "user"]
    assert found.items[0].prompt[0].content == "Speak as a pirate."
    assert not found.notes
    assert [turn.role for turn in read([{**row, key: None}])[0].items[0].prompt] == ["user"]


def test_a_system_turn_of_its_own_stays_alone(read):
    own = [{"role": "system", "content": "Be brief."}, *TALK]
    found, _ = read([{"messages": own, "system": "Be brief."}])
    assert len(found.items[0].prompt) == 2
    assert not found.notes
    found, _ = read([{"messages": own, "system": "Be long."}])
    assert len(found.items[0].prompt) == 2
    assert '"system" holds text that is not read' in found.notes[0]


FOUND = {
    "boolq": ({"question": "q", "answer": True, "passage": "p"}, ["text=question,text_pair=passage,label=answer"]),
    "qnli": ({"question": "q", "sentence": "s", "label": 1, "idx": 0}, ["text=question,text_pair=sentence"]),
    "mnli": ({"premise": "p", "hypothesis": "h", "label": 1}, ["text=premise,text_pair=hypothesis"]),
    "rte": ({"sentence1": "p", "sentence2": "h", "label": 1}, ["text=sentence1,text_pair=sentence2"]),
    "gsm8k": ({"question": "q", "answer": "five"}, ["prompt=question,completion=answer", "answers=answer"]),
    "hellaswag": ({"ctx": "c", "endings": ["a", "b"], "label": "1"}, ["question=ctx,choices=endings,answer=label"]),
    "mbpp": ({"text": "t", "code": "c", "test_list": ["x"]}, ["prompt=text,completion=code"]),
    "flan": ({"inputs": "i", "targets": "t"}, ["prompt=inputs,completion=targets"]),
    "number": ({"question": "q", "label": "3"}, ["text=question"]),
    "oasst": ({"text": "t", "labels": {"name": ["spam"]}, "role": "prompter"}, []),
    "cifar100": (
        {"img": {"bytes": None, "path": "a.png"}, "fine_label": 1, "coarse_label": 0},
        ["image=img,label=fine_label"],
    ),
    "aime": ({"problem": "p", "answer": "72"}, ["prompt=problem,completion=answer", "question=problem,answers=answer"]),
    "yes": ({"question": "q", "answer": "yes"}, ["answers=answer", "text=question,label=answer"]),
    "sums": ({"input": "i", "output": "5"}, ["prompt=input,completion=output"]),
    "triplets": ({"anchor": "a", "positive": "b", "negative": "c"}, ["query=anchor,match=positive"]),
}


@pytest.mark.parametrize("name", FOUND)
def test_names_that_are_meant_are_offered_and_no_others(name):
    row, offered = FOUND[name]
    assert suggestions(row, [("messages",), *(form.columns for form in FORMS.values())]) == offered


@pytest.mark.parametrize(
    ("row", "choices"),
    [
        ({"sentence": "s _", "option1": "a", "option2": "b", "answer": "1"}, ["option1", "option2"]),
        ({"goal": "g", "sol1": "a", "sol2": "b", "label": 0}, ["sol1", "sol2"]),
        ({"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c", "label": "1"}, 3),
        ({"question": "q", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 2}, 4),
        ({"question": "q", "A": "a", "B": "b", "C": 3, "D": "d", "answer": "A"}, ["A", "B", "C", "D"]),
        ({"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 0}, ["choice1", "choice2"]),
        ({"question": "q", "answer_0": "a", "answer_1": "b"}, ["answer_0", "answer_1"]),
        ({"sentence1": "a", "sentence2": "b", "label": 1}, []),
        ({"question": "q", "ctx_a": "a", "ctx_b": "b"}, []),
        ({"A": "a", "B": "b"}, []),
        ({"question": "q", "answer": "a"}, []),
    ],
)
def test_choices_in_columns_of_their_own_are_told_and_not_dropped(read, row, choices):
    found = spread_choices(row)
    assert len(found) == choices if isinstance(choices, int) else found == choices
    if found:
        assert not suggestions(row, [form.columns for form in FORMS.values()])
        _, problems = read([row])
        assert f"Its choices stand in columns of their own ({', '.join(found)})" in problems[0]


def test_a_text_alone_is_told_what_it_lacks(read):
    _, problems = read([{"text": LONG}])
    assert "write it as completion behind an empty prompt" in problems[0]
    found, problems = read([{"prompt": "", "completion": LONG}])
    assert len(found.items) == 1
    assert not problems


@pytest.mark.parametrize(
    ("labels", "are_values"),
    [
        ([1900 + number for number in range(60)], True),
        ([str(number * 37 % 101) for number in range(100)], True),
        ([number * 1000 for number in range(30)] * 1 + [0] * 10, True),
        ([number * 31 % 77 for number in range(100)], False),
        (list(range(10)), False),
        ([number % 20 for number in range(100)], False),
        ([f"class {number}" for number in range(60)], False),
        ([*range(60), "none"], False),
    ],
)
def test_whole_numbers_of_which_hardly_any_stands_twice_are_told(labels, are_values):
    assert bool(whole_scale_told(labels)) is are_values
    assert bool(classes_told(labels)) is are_values


def test_few_rows_of_many_classes_are_read_with_a_note(read):
    found, problems = read([{"text": f"t {number}", "label": number * 37 % 1000} for number in range(200)])
    assert (len(found.items), problems) == (200, [])
    assert '"label" holds 200 whole numbers (0, 37, 74, …) in 200 rows' in found.notes[0]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["sport", "sport,politics", "politics"], "'sport,politics'"),
        (["a; b", "b; c", "c; a"], "'a; b', 'b; c'"),
        (["[27]", "[3, 5]"], "'[27]', '[3, 5]'"),
        (["[0, 10]", "[10, 20]"], ""),
        (["Albany, NY", "Troy, NY"], ""),
        (["Credit card, prepaid", "Credit card"], ""),
        ([0, 1, 2, -1], '"-1" is a class of its own'),
        (["0", "-1"], '"-1" is a class of its own'),
        (["good", "bad", -1], '"-1" is a class of its own'),
        ([-1, 0, 1], ""),
        ([-2, -1, 0, 1, 2], ""),
        (["-1", "1"], ""),
        ([-1, -1], ""),
        ([None, "a"], ""),
    ],
)
def test_classes_that_may_be_none_are_told(labels, told):
    assert told in " ".join(classes_told(labels))
    assert bool(told) is bool(classes_told(labels))


def test_a_truth_value_beside_a_completion_is_told(read):
    rows = [{"prompt": "a", "completion": f"b{number}", "is_safe": number % 2 == 0} for number in range(4)]
    assert '"is_safe" is not read: all rows count alike' in read(rows)[0].notes
    assert not read([{"messages": TALK, "enable_thinking": False}])[0].notes
