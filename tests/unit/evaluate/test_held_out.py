"""Both models on the same windows of text, summed over what they predict."""

from __future__ import annotations

import pytest
import torch

from retain.data.preprocess import TextPreprocessor
from retain.evaluate.held_out import Window, base_twice, read_windows, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.suites.suite import Settings
from retain.events import SILENT
from tiny import make_llama, make_tokenizer

IDS = [[7, 8, 9, 10, 11], [12, 13, 14], [20, 21, 22, 23]]


def nll(model, ids, start=1):
    with torch.no_grad():
        log_p = model(input_ids=torch.tensor([ids])).logits.double().log_softmax(-1)[0]
    return -sum(log_p[t - 1, ids[t]].item() for t in range(start, len(ids)))


def test_sums_are_those_of_each_window_alone():
    base, tuned = make_llama(0), make_llama(1)
    sums = read_windows(Pair(tuned, base), [Window(ids) for ids in IDS], 0, SILENT, "")
    assert sums.tokens == [4, 2, 3]
    assert sums.base_nll == pytest.approx([nll(base, ids) for ids in IDS], abs=1e-4)
    assert sums.tuned_nll == pytest.approx([nll(tuned, ids) for ids in IDS], abs=1e-4)
    assert all(value > 0 for value in sums.kl)
    assert all(0 <= changed <= n for changed, n in zip(sums.churn, sums.tokens, strict=True))


def test_only_positions_from_the_start_on_count():
    model = make_llama()
    sums = read_windows(Pair(make_llama(), model), [Window(IDS[0], start=3)], 0, SILENT, "")
    assert sums.tokens == [2]
    assert sums.base_nll == pytest.approx([nll(model, IDS[0], start=3)], abs=1e-4)
    assert (sums.kl, sums.churn) == ([0], [0])


def test_a_base_reads_the_same_twice():
    assert base_twice(Pair(make_llama(1), make_llama(0)), [Window(ids) for ids in IDS[:2]], 0) == 0


def test_short_windows_are_read_together_and_none_where_padding_counts():
    """Two of the longest, with their filling 8 tokens, fit into a batch, or four of 2."""
    windows = [Window([9] * length) for length in (3, 4, 4, 2, 2, 2, 2)]
    read = []
    model = make_llama(0)
    model.register_forward_pre_hook(lambda _, __, named: read.append(tuple(named["input_ids"].shape)), with_kwargs=True)
    read_windows(Pair(make_llama(1), model), windows, 0, SILENT, "")
    assert read == [(2, 4), (2, 4), (3, 2)]
    read.clear()
    read_windows(Pair(make_llama(1), model), windows[:3], 0, SILENT, "", batching="one length")
    assert read == [(1, 3), (1, 4), (1, 4)]


def test_domains_share_the_tokens_and_are_named_where_there_are_several():
    text = " ".join("abcdefghij"[k % 10] for k in range(100))
    settings = Settings(held_out_tokens=40, window=10)
    alone = windows_of(TextPreprocessor(make_tokenizer(), 60), {"news": text}, settings)
    assert {window.domain for window in alone} == {""}
    both = windows_of(TextPreprocessor(make_tokenizer(), 60), {"news": text, "law": text}, settings)
    assert [window.domain for window in both] == ["news"] * 2 + ["law"] * 2
    assert windows_of(TextPreprocessor(make_tokenizer(), 60), {}, settings) == []
