"""The base put to itself: a base that changed in between is noticed, whatever its suites are."""

import pytest
import torch

from retain.data.examples import Example
from retain.data.item_types import Choice, Request
from retain.data.preprocess import TextPreprocessor
from retain.errors import InputError
from retain.evaluate.aa_check import run_aa_check
from retain.evaluate.columns import paired
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import collect_predictions
from retain.evaluate.suites.suite import Settings, Suite
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from tiny import make_llama, make_tokenizer

PREPROCESSOR = TextPreprocessor(make_tokenizer(), 60)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PICKED = Suite(
    "picked",
    "choice",
    "keep",
    [Choice(question=f"{a} then", choices=("b", "c word2", "d", "e"), answer=i % 4) for i, a in enumerate(LETTERS)],
)
SAID = Suite("said", "completion", "task", [Example(prompt=f"{a} b", completion=" word1 z") for a in LETTERS])


def scored(suite, predictions):
    """The scores of the first answers, as the runner has them."""
    return {suite.name: [item.base.scores for item in paired(suite, predictions, predictions).items]}


def check(before, now, suite, **settings):
    chosen = Settings(batch_size=7, generate=0, **settings)
    scores = scored(suite, collect_predictions(before, PREPROCESSOR, [suite], chosen, SILENT, ""))
    return run_aa_check(Pair(make_llama(), now), PREPROCESSOR, [suite], chosen, scores, SILENT)


@pytest.mark.parametrize("suite", [PICKED, SAID], ids=lambda suite: suite.task_type)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_untouched_base_passes_in_other_batches(suite, dtype):
    found = check(make_llama().to(dtype), make_llama().to(dtype), suite)
    assert found.passed
    assert (found.items, found.changed, found.note) == (8, 0, "")


@pytest.mark.parametrize("suite", [PICKED, SAID], ids=lambda suite: suite.task_type)
def test_a_base_that_was_changed_fails(suite):
    """Where nothing is right or wrong, as in a task whose answers are not written, the degrees tell."""
    changed = make_llama()
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    found = check(make_llama(), changed, suite)
    assert not found.passed
    assert found.score_difference_max > 0.01
    assert "answered otherwise" in found.note


def test_a_start_that_rewrites_the_base_is_refused_and_seen():
    """PiSSA takes the adapter's start out of the weights: with the adapter off, the base is another."""
    model = attach(make_llama(), "lora", {"init_lora_weights": "pissa", "r": 4}).eval()
    with pytest.raises(InputError, match="untouched base a second time"):
        Pair.of(model)
    chosen = Settings(batch_size=7, generate=0)
    scores = scored(SAID, collect_predictions(make_llama(), PREPROCESSOR, [SAID], chosen, SILENT, ""))
    found = run_aa_check(Pair(model), PREPROCESSOR, [SAID], chosen, scores, SILENT)
    assert not found.passed


def test_nothing_is_asked_where_that_is_wished():
    assert check(make_llama(), make_llama(), PICKED, aa_items=0) is None


def test_what_is_asked_again_is_spread_over_the_suite():
    from retain.evaluate.aa_check import _places

    assert _places(PICKED, 4) == [0, 6, 13, 19]
    assert _places(PICKED, 100) == list(range(26))


@pytest.mark.parametrize(("dtype", "turned", "passes"), [
    ("bfloat16", 2, True), ("bfloat16", 4, False), ("float32", 2, False), ("float32", 1, True),
])  # fmt: skip
def test_rounding_in_16_bits_may_turn_a_few_written_answers(dtype, turned, passes):
    """Of 16 refusals put again, so many were scored otherwise the first time; nothing else changed."""
    requests = [Request(prompt=f"{a} word1", harmful=True) for a in LETTERS[:16]]
    suite = Suite("asked", "refusal", "keep", requests)
    model = make_llama().to(getattr(torch, dtype))
    chosen = Settings(batch_size=16, aa_items=16, max_new_tokens=4)
    answers = collect_predictions(model, PREPROCESSOR, [suite], chosen, SILENT, "")
    first = [
        response.model_copy(update={"values": {**response.values, "refused": 1 - response.values["refused"]}})
        if k < turned
        else response
        for k, response in enumerate(answers.responses["asked"])
    ]
    other = answers.model_copy(update={"responses": {"asked": tuple(first)}})
    found = run_aa_check(Pair(make_llama(), model), PREPROCESSOR, [suite], chosen, scored(suite, other), SILENT)
    assert (found.changed, found.passed) == (turned, passes)
    assert ("turned by rounding" in found.note) == passes
