"""Chats that begin with one system message: it is read once, and what is written stays what it was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_models import SHARING, made
from retain.evaluate import generate, opening
from retain.evaluate.generate import write_answers
from retain.evaluate.opening import FEWEST_SPARED, WHOLE, opening_of, shared_beginning
from tiny import make_tokenizer

TOKENIZER = make_tokenizer()
SYSTEM = tuple(range(10, 22))


@pytest.fixture(autouse=True)
def _for_few_tokens(monkeypatch):
    """Let the trial be worth its price for the few short prompts of these tests."""
    monkeypatch.setattr(opening, "FEWEST_SPARED", 8 * len(SYSTEM))


def prompts(system: tuple[int, ...] = SYSTEM) -> list[tuple[int, ...]]:
    draw = torch.Generator().manual_seed(1)
    return [
        (*system, *torch.randint(3, 70, (1 + place % 5,), generator=draw).tolist(), 30 + place) for place in range(9)
    ]


def answers(model, rows, monkeypatch=None, **given) -> list[str]:
    if monkeypatch is not None:
        monkeypatch.setattr(generate, "opening_of", lambda *_: WHOLE)
    return [one.text for one in write_answers(model, TOKENIZER, rows, 6, 4, **given)]


@pytest.mark.parametrize("name", [*SHARING, "mamba"])
def test_answers_are_those_of_whole_prompts(name, monkeypatch):
    model, rows = made(name), prompts()
    batching = "padded" if name in SHARING else "one length"
    assert answers(model, rows, batching=batching) == answers(model, rows, monkeypatch, batching=batching)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "mistral"])
def test_the_system_message_is_read_once(name, monkeypatch):
    model, read = made(name), []
    model.register_forward_pre_hook(lambda _, __, named: read.append(named["input_ids"].numel()), with_kwargs=True)
    answers(model, prompts())
    shared = sum(read)
    read.clear()
    answers(model, prompts(), monkeypatch)
    assert shared < sum(read)


def test_for_a_few_tokens_nothing_is_tried(monkeypatch):
    monkeypatch.undo()

    def write(*_):
        raise AssertionError

    assert len(SYSTEM) * 8 < FEWEST_SPARED
    assert opening_of(made("llama"), prompts(), 0, write) is WHOLE


def test_where_distances_count_the_filling_prompts_are_read_whole():
    """MPT's attention falls with the distance in the batch, filling included."""
    model, rows = made("mpt"), prompts()

    def write(inputs, tokens):
        return model.generate(
            **inputs, max_new_tokens=tokens, output_logits=True, return_dict_in_generate=True, pad_token_id=0
        ).logits

    assert opening_of(model, rows, 0, write) is WHOLE


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=5))
def test_what_all_begin_with_leaves_each_something_of_its_own(rows):
    found = shared_beginning(rows)
    assert all(row[: len(found)] == found and len(row) > len(found) for row in rows)
    if len(rows) > 1:
        longer = {row[: len(found) + 1] for row in rows}
        assert len(longer) > 1 or min(map(len, rows)) == len(found) + 1
    else:
        assert found == ()
