"""The measurement on a tiny model: what must hold whatever the figures are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retain.data.examples import Example
from retain.data.item_types import Choice
from retain.data.preprocess import TextPreprocessor
from retain.data.tokens import encode_choice, encode_example, held_out_windows
from retain.errors import InputError
from retain.evaluate.generate import score_nll, write_answers
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from tiny import make_llama, make_tokenizer

TOKENIZER = make_tokenizer()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PREPROCESSOR = TextPreprocessor(TOKENIZER, 512)
TASK = [Example(prompt=f"{a} word{i} b", completion=f" c {a} word1") for i, a in enumerate(LETTERS)]
CHOICES = [Choice(question=f"{a} then", choices=("b", "c word2", "d"), answer=i % 3) for i, a in enumerate(LETTERS)]
REFERENCE = " ".join(LETTERS[i * i % 26] for i in range(200))
LETTERS_SUITE = Suite("letters", "choice", "keep", CHOICES)
SUITES = Suites(
    [
        Suite("spelling", "completion", "task", TASK),
        LETTERS_SUITE,
        Suite("few", "choice", "keep", [Choice(question="a then", choices=("b", "c"), answer=0)] * 3),
    ],
    {"text": REFERENCE},
)
SETTINGS = Settings(generate=4, max_new_tokens=5, window=32, batch_size=5)


@pytest.fixture(scope="module")
def adapted():
    model = attach(make_llama(), "vefa", {})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "vefa_" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def quiet():
    return SILENT


def test_a_batch_scores_as_each_sequence_alone():
    model = make_llama().double()
    rows = [encode_example(TOKENIZER, item, 64) for item in TASK[:5]]
    rows += encode_choice(TOKENIZER, CHOICES[0], chat=False, max_length=64)
    together = score_nll(model, rows, 0, batch_size=4)
    for row, value in zip(rows, together, strict=True):
        ids = torch.tensor([row.ids])
        log_p = model(input_ids=ids).logits.log_softmax(-1)
        by_hand = -sum(log_p[0, t - 1, row.ids[t]].item() for t in range(row.start, len(row.ids)))
        assert value == pytest.approx(by_hand, abs=1e-9)


def test_answers_are_what_greedy_decoding_gives_alone():
    model = make_llama()
    prompts = [[10, 11], [12, 13, 14, 15], [16]]
    together = write_answers(model, TOKENIZER, prompts, 6, batch_size=3)
    alone = [write_answers(model, TOKENIZER, [prompt], 6, batch_size=1)[0] for prompt in prompts]
    assert together == alone


@pytest.mark.parametrize(("margin", "noted"), [(0.0005, True), (0.05, False), (0.01, False)])
def test_a_margin_that_may_have_been_meant_as_a_share_is_noted(quiet, margin, noted):
    settings = replace(SETTINGS, margin=margin, drift=False)
    measured = measure_pair(Pair(make_llama(), make_llama()), PREPROCESSOR, Suites([LETTERS_SUITE]), settings, quiet)
    told = "margin: 0.05 points of 100, as it was given; a share of 0.05 would be 5 points."
    assert (told in measured.notes) == noted
    assert any(note.startswith("margin:") for note in measured.notes) == noted


def test_the_base_against_itself_is_no_change(quiet):
    base, same = make_llama(), make_llama()
    measured = measure_pair(Pair(same, base), PREPROCESSOR, SUITES, SETTINGS, quiet)
    metrics = ["cross_entropy_nats_per_token", "chrf", "rouge_l", "exact_match"]
    assert [score.metric.name for score in measured.task] == metrics
    assert all(score.base == score.tuned and score.interval[0] <= 0 <= score.interval[1] for score in measured.task)
    suite = measured.keep[0]
    assert (suite.lost, suite.gained, suite.p_value) == (0, 0, 1)
    assert suite.interval[0] < 0 < suite.interval[1]
    drift = measured.drift
    assert (drift.kl_nats_per_token, drift.churn, drift.ce_drift_nats_per_token) == (0, 0, 0)
    assert (drift.update_relative_frobenius, drift.f_delta) == (0, 0)


def test_one_model_with_an_adapter_is_both_sides(adapted, quiet):
    inside = measure_pair(Pair.of(adapted), PREPROCESSOR, SUITES, SETTINGS, quiet)
    apart = measure_pair(Pair(adapted, make_llama()), PREPROCESSOR, SUITES, SETTINGS, quiet)
    assert inside.task == apart.task
    assert inside.keep == apart.keep
    assert inside.drift.kl_nats_per_token == apart.drift.kl_nats_per_token > 0


def test_drift_is_what_the_definitions_say(adapted, quiet):
    measured = measure_pair(Pair.of(adapted), PREPROCESSOR, SUITES, SETTINGS, quiet)
    windows = held_out_windows(TOKENIZER, REFERENCE, 32, 8192)
    base, nats, kl, churned, tokens = make_llama(), 0.0, 0.0, 0, 0
    for window in windows:
        ids = torch.tensor([window])
        with torch.no_grad():
            log_p, log_q = (m(input_ids=ids).logits[0, :-1].double().log_softmax(-1) for m in (base, adapted))
        target = ids[0, 1:, None]
        nats += float((log_p.gather(1, target) - log_q.gather(1, target)).sum())
        kl += float((log_p.exp() * (log_p - log_q)).sum())
        churned += int((log_p.argmax(-1) != log_q.argmax(-1)).sum())
        tokens += len(window) - 1
    drift = measured.drift
    assert drift.tokens == tokens
    assert drift.ce_drift_nats_per_token == pytest.approx(nats / tokens, abs=1e-5)
    assert drift.kl_nats_per_token == pytest.approx(kl / tokens, rel=1e-4)
    assert drift.churn == pytest.approx(churned / tokens)


def test_every_figure_can_be_looked_behind(adapted, quiet):
    measured = measure_pair(Pair.of(adapted), PREPROCESSOR, SUITES, SETTINGS, quiet)
    keep = [item for item in measured.items if item.suite == "letters"]
    right = [item.base.scores["accuracy"] for item in keep]
    assert np.mean(right) == pytest.approx(measured.keep[0].base)
    lost = np.mean([item.base.scores["accuracy"] > item.tuned.scores["accuracy"] for item in keep])
    assert lost == pytest.approx(measured.keep[0].lost)
    assert all((item.base.answer == item.expected) == bool(item.base.scores["accuracy"]) for item in keep)
    task = [item for item in measured.items if item.part == "task"]
    assert [item.base.answer is not None for item in task] == [True] * 4 + [False] * 22
    assert {item.part for item in measured.items} == {"task", "keep", "held-out"}


def test_a_suite_that_is_too_small_is_not_scored(adapted, quiet):
    few = measure_pair(Pair.of(adapted), PREPROCESSOR, SUITES, SETTINGS, quiet).keep[1]
    assert few.status == "too few items"
    assert (few.base, few.tuned, few.lost, few.p_value, few.interval) == (None,) * 5


def test_the_model_comes_back_as_it_was(adapted, quiet):
    adapted.train()
    grads = [p.requires_grad for p in adapted.parameters()]
    before = {key: value.clone() for key, value in adapted.state_dict().items()}
    measure_pair(Pair.of(adapted), PREPROCESSOR, SUITES, SETTINGS, quiet)
    assert adapted.training
    assert [p.requires_grad for p in adapted.parameters()] == grads
    assert all(torch.equal(value, before[key]) for key, value in adapted.state_dict().items())
    assert not any(module._forward_pre_hooks for module in adapted.modules())
    adapted.eval()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="nothing to compare"):
        Pair.of(make_llama())
    mutated = attach(make_llama(), "lora", {"init_lora_weights": "pissa"})
    with pytest.raises(InputError, match="untouched base a second time"):
        Pair.of(mutated)


def test_chat_and_normalised_scores_are_other_questions(adapted, quiet):
    chat = Settings(keep_format="chat", keep_score="character", generate=0)
    keep = Suites([LETTERS_SUITE])
    measured = measure_pair(Pair.of(adapted), PREPROCESSOR, keep, chat, quiet)
    assert measured.task == ()
    assert measured.drift.kl_nats_per_token is None
    assert measured.keep[0].n == 26
