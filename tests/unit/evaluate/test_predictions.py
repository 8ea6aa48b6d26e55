"""Predictions of one model: in the order of the items, with the conditions under which they were collected."""

from dataclasses import replace

import pytest
import torch

from retain.data.examples import Example
from retain.data.item_types import Choice
from retain.data.preprocess import TextPreprocessor
from retain.errors import InputError
from retain.evaluate.predictions import Predictions, collect_predictions, engine
from retain.evaluate.suites.suite import Settings, Suite
from retain.events import SILENT, Events
from tiny import make_llama, make_tokenizer

PREPROCESSOR = TextPreprocessor(make_tokenizer(), 60)
LETTERS = "abcdefghijkl"
PICKED = Suite(
    "picked", "choice", "keep", [Choice(question=f"{a} then", choices=("b", "c", "d"), answer=0) for a in LETTERS]
)
SAID = Suite("said", "completion", "task", [Example(prompt=f"{a} b", completion=" c") for a in LETTERS])
SETTINGS = Settings(generate=2, max_new_tokens=3, batch_size=5, max_length=60)


def collected(suites, settings=SETTINGS, events=SILENT, model=None):
    return collect_predictions(model or make_llama(), PREPROCESSOR, suites, settings, events, "the base answers")


def test_each_suite_has_its_responses_in_order():
    found = collected([PICKED, SAID])
    assert {name: len(responses) for name, responses in found.responses.items()} == {"picked": 12, "said": 12}
    turned = collected([replace(PICKED, items=PICKED.items[::-1])])
    options = [response.options for response in found.responses["picked"]]
    torch.testing.assert_close(
        torch.tensor([response.options for response in turned.responses["picked"]][::-1]), torch.tensor(options)
    )


def test_progress_counts_every_sequence_once():
    seen = []
    collected([PICKED], events=Events(seen.append))
    assert (seen[0].name, seen[0].done, seen[0].total) == ("the base answers", 0, 36)
    assert seen[-1].done == 36


def test_they_are_plain_values_that_can_be_read_again():
    found = collected([PICKED, SAID])
    assert Predictions.model_validate_json(found.model_dump_json()) == found


def test_the_conditions_tell_how_a_model_was_measured():
    conditions = collected([PICKED]).conditions
    assert (conditions.engine, conditions.dtype, conditions.device) == (engine(), "float32", "cpu")
    assert conditions.preprocessor_hash == PREPROCESSOR.identity()
    assert collected([PICKED], model=make_llama(seed=1)).conditions == conditions
    assert collected([replace(PICKED, items=PICKED.items[1:])]).conditions.input_hash != conditions.input_hash


def test_what_is_cut_is_counted():
    long = replace(SAID, items=[Example(prompt="a " * 80, completion=" c"), *SAID.items])
    assert collected([long]).truncated == {"said": 1}
    assert collected([SAID]).truncated == {"said": 0}


def test_all_problems_of_all_suites_are_named_before_anything_is_run():
    lone = replace(PICKED, name="lone", task_type="retrieval", items=[object()])
    with pytest.raises(InputError, match=r"^lone: "):
        collected([lone], model=object())
