"""Rows that begin alike: read once from the shared beginning they give what they give read whole, or are read whole."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PrefixTuningConfig, get_peft_model

from causal_models import MODELS, SHARING, made
from retain.data.tokens import Encoded
from retain.evaluate import continuing, generate
from retain.evaluate.continuing import families, family_nll, goes_on_alike, in_family_batches
from retain.evaluate.generate import score_nll
from retain.evaluate.input_hash import InputHash


def options(seed: int = 0, questions: int = 6) -> list[Encoded]:
    """Questions of 2 to 9 tokens with two to four options of 1 to 6, and a row that is alone."""
    draw = torch.Generator().manual_seed(seed)

    def ids(low: int, high: int) -> tuple[int, ...]:
        size = int(torch.randint(low, high, (1,), generator=draw))
        return tuple(torch.randint(3, 70, (size,), generator=draw).tolist())

    rows = []
    for _ in range(questions):
        question = ids(2, 10)
        rows += [Encoded(question + ids(1, 7), len(question)) for _ in range(2 + len(rows) % 3)]
    return [*rows, Encoded((5, 6, 7, 8), 2), Encoded((9, 10), 0)]


def whole(model, rows, **given) -> list[float]:
    return [nats for row in rows for nats in score_nll(model, [row], 0, 1, **given)]


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_gives_what_it_gives_row_by_row(name):
    model, rows = made(name), options()
    batching = "single" if name in ("rwkv", "mamba", "jamba") else "padded"
    found = score_nll(model, rows, 0, 4, batching=batching)
    assert found == pytest.approx(whole(model, rows), abs=1e-5)


@pytest.mark.parametrize("name", SHARING)
def test_what_keeps_keys_and_values_shares_beginnings(name):
    model, rows = made(name), options()
    alike, alone = families(rows)
    assert len(alike) == 6
    assert len(alone) == 2
    assert goes_on_alike(model, alike, rows, 0, lambda some: whole(model, some), 99)


def test_a_model_that_forgets_what_it_kept_is_read_whole(monkeypatch):
    model, rows = made("llama"), options()
    forward = model.forward

    def forgetful(*args, past_key_values=None, attention_mask=None, **named):
        if past_key_values is not None:
            attention_mask = attention_mask[:, -named["input_ids"].shape[1] :]
        return forward(*args, attention_mask=attention_mask, **named)

    monkeypatch.setattr(model, "forward", forgetful)
    alike, _ = families(rows)
    assert not goes_on_alike(model, alike, rows, 0, lambda some: whole(model, some), 99)
    assert score_nll(model, rows, 0, 4) == pytest.approx(whole(model, rows), abs=1e-5)


def test_virtual_tokens_are_read_whole():
    model = get_peft_model(made("llama"), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()
    rows = options()
    assert not goes_on_alike(model, families(rows)[0], rows, 0, lambda some: whole(model, some), 99)
    assert score_nll(model, rows, 0, 4) == pytest.approx(whole(model, rows), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 40))
def test_batches_of_families_hold_each_row_once_and_bound_what_is_kept(seed, questions, tokens):
    rows = options(seed, questions)
    alike, alone = families(rows)
    batches = list(in_family_batches(alike, tokens))
    places = [place for batch in batches for family in batch for place in family.places]
    assert sorted([*places, *alone]) == list(range(len(rows)))
    for batch in batches:
        lengths = {len(family.beginning) for family in batch}
        assert len(lengths) == 1
        assert len(batch) == 1 or lengths.pop() * sum(len(family.places) for family in batch) <= tokens


def test_families_are_of_the_same_beginning_and_not_of_the_same_length():
    rows = [Encoded((1, 2, *rest), 2) for rest in [(3,), (4, 5), (3,)]] + [Encoded((2, 1, 3), 2), Encoded((1, 2), 1)]
    alike, alone = families(rows)
    assert [family.places for family in alike] == [(0, 1, 2)]
    assert alone == [3, 4]


def test_the_sum_is_of_all_tokens_of_an_option_in_float64():
    model, rows = made("llama").double(), options()
    alike, _ = families(rows)
    for family in alike:
        found = family_nll(model, [family], rows, 0, 99)
        for place in family.places:
            row = rows[place]
            logits = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            expected = -sum(float(logits[k - 1, row.ids[k]]) for k in range(row.start, len(row.ids)))
            assert found[place] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("most_logits", [1, 400, 2**26])
def test_a_family_of_many_rows_is_read_in_batches_that_fit(monkeypatch, most_logits):
    """Whatever its size: of rows that go on, tokens and logits are bounded, on trial too, but for a row alone."""
    monkeypatch.setattr(continuing, "MOST_LOGITS", most_logits)
    model, draw = made("llama"), torch.Generator().manual_seed(1)
    ends = [tuple(torch.randint(3, 70, (1 + k % 5,), generator=draw).tolist()) for k in range(40)]
    rows = [Encoded((7, 8, 9, *end), 3) for end in ends]
    expected, read = whole(model, rows), []

    def note(_, __, named, made):
        before = named["attention_mask"].shape[1] - named["input_ids"].shape[1]
        going_on = named["input_ids"].numel() if before else 0
        read.append((named["attention_mask"].numel(), going_on * made.logits.shape[-1], len(named["input_ids"])))

    model.register_forward_hook(note, with_kwargs=True)
    assert score_nll(model, rows, 0, 2) == pytest.approx(expected, abs=1e-5)
    assert all(tokens <= 2 * 8 or number == 1 for tokens, _, number in read)
    assert all(logits <= most_logits or number == 1 for _, logits, number in read)


def test_fewer_tokens_are_read(monkeypatch):
    model, rows = made("llama"), options(questions=12)
    read = []
    model.register_forward_pre_hook(lambda _, __, named: read.append(named["input_ids"].numel()), with_kwargs=True)
    score_nll(model, rows, 0, 8)
    shared = sum(read)
    read.clear()
    monkeypatch.setattr(generate, "families", lambda rows: ([], list(range(len(rows)))))
    score_nll(model, rows, 0, 8)
    assert shared < 0.8 * sum(read)


@pytest.mark.parametrize("forgets", [False, True])
def test_the_hash_and_the_progress_do_not_tell_how_rows_were_read(monkeypatch, forgets):
    if forgets:
        monkeypatch.setattr(generate, "goes_on_alike", lambda *_: False)
    rows, counted, input_hash = options(), itertools.count(), InputHash()
    ticks: list[int] = []
    score_nll(made("llama"), rows, 0, 4, ticks.append, input_hash)
    assert sum(ticks) == len(rows)
    expected = InputHash()
    monkeypatch.setattr(generate, "families", lambda rows: ([], list(range(len(rows)))))
    score_nll(made("llama"), rows, 0, 4, lambda _: next(counted), expected)
    assert input_hash.hash() == expected.hash()
