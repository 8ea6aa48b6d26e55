"""Data as they are given in Python: paths, names, rows; and settings by their names."""

from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pandas as pd
import pytest
from accelerate import cpu_offload

from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from retain.errors import InputError
from retain.evaluate.suites.suite import Settings
from retain.jobs.inputs.given import given_preprocessor, given_suites
from retain.jobs.inputs.given_settings import given_settings
from retain.jobs.inputs.read import settings_of
from retain.recipe import MeasureRecipe
from tiny import make_llama, make_tokenizer

ROWS = [{"question": f"{a} then", "choices": ["b", "c"], "answer": 0} for a in "abc"]
LABELS = [{"text": a, "label": a} for a in "ab"]


def suites(test=None, keep=None, held_out_text=None):
    problems = []
    return given_suites(test, keep, held_out_text, problems), problems


def test_settings_are_given_by_name():
    assert given_settings({"generate": 3}) == Settings(generate=3)
    with pytest.raises(InputError, match=r"window_s: is no setting; did you mean window\?"):
        given_settings({"window_s": 3})


@pytest.mark.parametrize(
    "fields",
    [
        {"margin": 5, "smallest_gain": 2, "gone_margin": 10},
        {"margin_nats": 0.1, "smallest_gain_nats": 0},
        {"max_new_tokens": 9, "held_out_tokens": 64, "keep_score": "token"},
    ],
)
def test_settings_mean_what_a_recipe_means_by_them(fields):
    recipe = MeasureRecipe(model="m", tuned="t", test="e.jsonl", output="o", **fields)
    assert given_settings(fields) == settings_of(recipe)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"margin": -3}, "margin: expected a number above 0 (found -3)"),
        ({"margin": 300}, "margin: expected a number of 100 or less (found 300)"),
        ({"margin_nats": -1}, "margin_nats: expected a number above 0"),
        ({"smallest_gain": -5}, "smallest_gain: expected a number of 0 or more"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected a number above 0"),
        ({"held_out_tokens": 0}, "held_out_tokens: expected a number above 1"),
        ({"batch_size": 0}, "batch_size: expected a number above 0"),
        ({"evaluation_batch_size": 0}, "evaluation_batch_size: expected a number above 0"),
        ({"window": 1}, "window: expected a number above 1"),
        ({"drift": 3}, "drift: expected true or false"),
        ({"generate": True}, "generate: expected a number"),
        ({"keep_format": "markdown"}, "keep_format: expected 'plain' or 'chat'"),
    ],
)
def test_settings_have_a_recipes_bounds(fields, told):
    with pytest.raises(InputError) as caught:
        given_settings({**fields, "seed": 1})
    assert told in str(caught.value)


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(InputError) as caught:
        given_settings({"margin": -3, "marginal": 1, "generate": "many"})
    assert len(caught.value.problems) == 3


def test_one_of_tokenizer_and_processor_is_given():
    one, within = object(), make_tokenizer()
    both = SimpleNamespace(tokenizer=within, image_processor="p")
    assert given_preprocessor(one, None, {"max_length": 7}) == TextPreprocessor(one, 7)
    assert given_preprocessor(None, one, {}) == ImagePreprocessor(one)
    assert given_preprocessor(both, None, {}) == TextPreprocessor(within, 512)
    assert given_preprocessor(None, both, {}) == ImagePreprocessor("p")
    for wrong in ((one, one), (None, None)):
        with pytest.raises(InputError, match="one of them"):
            given_preprocessor(*wrong, {})


def test_a_tokenizer_that_keeps_its_rules_under_that_name_is_the_tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.tokenizer = object()  # as tokenizers with code of their own do (QWen, ChatGLM)
    assert given_preprocessor(tokenizer, None, {}).tokenizer is tokenizer


def test_weights_that_a_hook_fetches_are_there():
    model = cpu_offload(make_llama(), execution_device="cpu")
    assert model.lm_head.weight.device.type == "meta"
    assert given_preprocessor(make_tokenizer(), None, {}, model).max_length == 512


def test_a_name_is_no_tokenizer_and_a_tokenizer_no_processor():
    for wrong, told in (
        (("gpt2", None), "tokenizer: 'gpt2' was given, and a loaded one"),
        ((None, Path("a/b")), "processor: 'a/b' was given, and a loaded one"),
        ((None, make_tokenizer()), "give it as tokenizer="),
    ):
        with pytest.raises(InputError, match=told):
            given_preprocessor(*wrong, {})


def test_rows_get_the_task_type_of_their_form():
    found, problems = suites(LABELS, {"mine": ROWS})
    assert problems == []
    assert [(suite.name, suite.task_type, suite.part) for suite in found.all] == [
        ("task", "labels", "task"),
        ("mine", "choice", "keep"),
    ]


@pytest.mark.parametrize(
    "given",
    [
        lambda rows: (row for row in rows),
        pd.DataFrame,
        lambda rows: {"keep": pd.DataFrame(rows)},
        lambda rows: [{**row, "choices": np.array(row["choices"]), "answer": np.int64(0)} for row in rows],
        datasets.Dataset.from_list,
    ],
)
def test_rows_are_read_from_whatever_holds_them_in_memory(given):
    found, problems = suites(keep=given(ROWS))
    assert problems == []
    assert found.all == suites(keep=ROWS)[0].all


@pytest.mark.parametrize("lacking", [float("nan"), None, pd.NA, pd.NaT])
def test_what_a_table_in_memory_lacks_is_null_as_in_files(lacking):
    pair = {"prompt": "p", "completion": "c", "system": None}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{**pair, "messages": lacking, "context": lacking, "id": 1}, {"messages": turns, "id": 2}]
    found, problems = suites(test=pd.DataFrame(rows))
    assert (problems, [item.texts for item in found.all[0].items]) == ([], [("p", "c"), ("a", "b")])


@pytest.mark.parametrize("rows", [[("a", "b")], [None]])
def test_what_is_no_row_is_told_with_its_place(rows):
    _, problems = suites(keep={"mine": rows})
    assert ["row 1: expected a JSON object" in problem for problem in problems] == [True] * len(problems)
    assert problems


def test_what_holds_no_rows_is_told_by_its_type():
    _, problems = suites(keep=5)
    assert "keep: int was given, and a path, a suite's name or rows are expected." in problems


def test_rows_beside_paths_are_a_suite_too(tiny_data):
    found, problems = suites(keep=[str(tiny_data / "letters.jsonl"), ROWS])
    assert (problems, [suite.name for suite in found.all]) == ([], ["letters", "keep"])


def test_one_row_is_no_set_of_suites():
    _, problems = suites(keep={"question": "capitals", "choices": ["a", "b"], "answer": 0})
    assert "answer: int was given, and a path, a suite's name or rows are expected." in problems


def test_rows_without_a_name_are_called_keep():
    assert [suite.name for suite in suites(keep=ROWS)[0].all] == ["keep"]


def test_paths_are_named_by_their_files_unless_a_name_is_given(tiny_data):
    path = tiny_data / "letters.jsonl"
    for keep, name in ((path, "letters"), ([str(path)], "letters"), ({"mine": path}, "mine")):
        found, problems = suites(keep=keep)
        assert ([suite.name for suite in found.all], problems) == ([name], [])


def test_held_out_texts_are_domains(tiny_data):
    found, _ = suites(held_out_text=tiny_data / "text.txt")
    assert list(found.held_out_text) == ["text"]
    found, problems = suites(held_out_text={"mine": tiny_data / "text.txt"})
    assert (list(found.held_out_text), problems) == (["mine"], [])
    for text in ("one\n\ntwo", "a b " * 500):
        _, (problem,) = suites(held_out_text=text)
        assert problem.startswith(f"held_out_text: {text[:40]!r}… is text, and paths are expected")


def test_what_is_empty_or_damaged_is_a_problem():
    assert any("holds no items" in problem for problem in suites(test=[])[1])
    assert any(problem.startswith("mine:") for problem in suites(keep={"mine": [{"question": "a"}]})[1])


@pytest.mark.parametrize("model", ["path/to/base", Path("here"), {"a": 1}])
def test_a_path_is_no_model(model):
    with pytest.raises(InputError, match="a loaded model is expected"):
        given_preprocessor("tokenizer", None, {}, model)
