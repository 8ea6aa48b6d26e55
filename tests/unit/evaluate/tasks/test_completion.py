"""Completions against figures computed one sequence at a time."""

from dataclasses import replace

import pytest
from by_hand import PREPROCESSOR, SETTINGS, TOKENIZER, greedy, log_likelihood, predict, scores

from retain.data.examples import Example
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.scores.text import exact_match
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.completion import CompletionTask


def test_completions_by_hand(llama):
    items = [Example(prompt=f"{a} b" + " c" * i, completion=f" word{i} z") for i, a in enumerate("abcde")]
    suite = Suite("said", "completion", "task", items)
    found = scores(suite, predict(llama, PREPROCESSOR, suite))
    for index, (item, score) in enumerate(zip(items, found, strict=True)):
        prompt = TOKENIZER.encode(item.prompt)
        ids = [*prompt, *TOKENIZER.encode(item.completion), TOKENIZER.eos_token_id]
        by_hand = -log_likelihood(llama, ids, len(prompt)) / 3  # two words and the end
        assert score["cross_entropy_nats_per_token"] == pytest.approx(by_hand, abs=1e-9)
        assert ("chrf" in score) == (index < 2)  # an answer is written for two
        if index < 2:
            written = greedy(llama, prompt, 4)
            assert score["exact_match"] == exact_match(written, item.completion.strip())


def test_sequences_are_those_of_the_training():
    items = [Example(prompt="a b", completion=" c"), Example(prompt="d", completion=" e")]
    found = [TOKENIZER.decode(ids) for ids in CompletionTask().sequences(items, TOKENIZER, SETTINGS.max_length)]
    assert found == ["a b c <eos>", "d e <eos>"]


def test_the_verdict_rests_on_the_cross_entropy_and_nothing_is_written_in_an_aa_check():
    suite = Suite("said", "completion", "task", [Example(prompt="a", completion=" b")])
    metric = CompletionTask().verdict_metric(suite)
    assert (metric.name, metric.right_or_wrong) == ("cross_entropy_nats_per_token", False)
    assert CompletionTask().aa_options == {"generate": 0}


def test_what_is_cut_is_counted(llama):
    suite = Suite("said", "completion", "task", [Example(prompt="a b c d", completion=" e")] * 2)
    assert predict(llama, PREPROCESSOR, suite).truncated == 0
    short = TextPreprocessor(TOKENIZER, 4)
    assert predict(llama, short, suite, replace(SETTINGS, generate=0)).truncated == 2
