"""The search for the largest coefficient that keeps a budget: where it stops, and what it measures on the way."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from retain.data.examples import Example
from retain.data.item_types import Choice
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.pair import Pair
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.task_type import Response
from retain.events import SILENT, Events
from retain.jobs.budget_search import TASK_ITEMS, BudgetSearch, Outcome, search
from tiny import make_llama, make_tokenizer

PREPROCESSOR = TextPreprocessor(make_tokenizer(), 60)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
KEPT = Suite(
    "letters",
    "choice",
    "keep",
    [Choice(question=f"{a} {b} then", choices=("b", "c", "d"), answer=0) for a in LETTERS for b in "abc"],
)
TASK = Suite("said", "completion", "task", [Example(prompt=f"{a} word1", completion=" z") for a in LETTERS * 3])
TEXT = {"text": "\n\n".join(" ".join(LETTERS[(i * j) % 26] for j in range(330)) for i in range(1, 9))}


def job(limits=None, alphas=(0.5, 1.0), control=None, **changes):
    options = {"limits": limits or {}, "confidence": 0.6, "alphas": alphas, **changes}
    return BudgetSearch.among(PREPROCESSOR, control or Suites([KEPT], TEXT), [TASK], Settings(max_length=60), **options)


def adapted(size):
    """The tiny model with a LoRA of a size; 0 is the base."""
    model = get_peft_model(make_llama(), LoraConfig(target_modules="all-linear", r=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=1.0, generator=torch.Generator().manual_seed(1)).mul_(size)
    return Pair(model.eval())


def test_few_items_of_the_task_and_no_answers_are_measured():
    made = job()
    assert [len(suite.items) for suite in made.task] == [TASK_ITEMS]
    assert (made.settings.generate, made.settings.drift) == (0, False)
    assert [suite.name for suite in made.suites] == ["letters", "said"]
    assert all("block" in name for name in made.control.held_out_text)


def test_groups_take_a_share_of_the_coefficient():
    assert job().at(0.5) == 0.5
    assert job(groups={"mlp": 0.5}).at(0.5) == {"mlp": 0.25, ".*": 0.5}


def test_an_update_that_changes_nothing_is_delivered_in_full():
    outcome, base = search(adapted(0.0), job({"letters": 20.0, "kl": 0.5}), SILENT)
    assert outcome.kept
    assert outcome.scaling.alpha == 1.0
    assert [one.name for one in outcome.budget] == ["letters", "kl"]
    assert all(one.observed == 0 for one in outcome.budget)
    assert outcome.scaling.note == ""
    assert set(base.responses) == {"letters", "said"}


def test_it_stops_at_the_first_coefficient_that_is_not_certified():
    seen = []
    outcome, _ = search(adapted(3.0), job({"kl": 0.002}, alphas=(1e-6, 0.6, 1.0)), Events(seen.append))
    assert outcome.scaling.alpha == 1e-6
    assert {point.alpha for point in outcome.scaling.curve} == {1e-6, 0.6}
    assert "α = 0.6, was not delivered" in outcome.scaling.note
    assert not any(event.name.endswith("α = 1") for event in seen)


def test_where_none_is_certified_the_base_is_delivered_and_the_first_is_shown():
    outcome, _ = search(adapted(3.0), job({"kl": 0.0005}), SILENT)
    assert outcome.scaling.alpha == 0
    assert not outcome.kept
    assert [one.kept for one in outcome.budget] == [False]
    assert {point.alpha for point in outcome.scaling.curve} == {0.5}


def test_without_limits_the_whole_curve_is_measured():
    outcome, _ = search(adapted(0.5), job(), SILENT)
    assert outcome.budget == ()
    assert [(point.alpha, point.part, point.name) for point in outcome.scaling.curve] == [
        (alpha, part, name)
        for alpha in (0.5, 1.0)
        for part, name in (("task", "said"), ("keep", "letters"), ("held-out", "kl"))
    ]
    small, large = (point.loss for point in outcome.scaling.curve if point.name == "kl")
    assert 0 < small < large


def test_losses_count_from_the_base_of_an_earlier_run():
    right = Response(answer="b", options=(0.0, -1.0, -1.0))
    origin = {"letters": (right,) * len(KEPT.items)}
    outcome, base = search(adapted(0.0), job({"letters": 1.0}), SILENT, origin)
    assert base.responses["letters"] == origin["letters"]
    assert outcome.scaling.alpha == 0
    assert outcome.budget[0].observed > 1


def test_the_base_needs_no_measurement():
    assert Outcome.of_base(job()).scaling.alpha == 0.0
    assert Outcome.of_base(job()).noted(["One.", "Two."]).noted(["Three."]).scaling.note == "One. Two. Three."


@pytest.mark.parametrize("name", ["letters", "kl"])
def test_a_point_with_a_limit_carries_its_bound(name):
    outcome, _ = search(adapted(0.2), job({name: 30.0}, alphas=(1.0,)), SILENT)
    points = {point.name: point for point in outcome.scaling.curve}
    assert points[name].bound is not None
    assert points[name].kept is True
    assert points["said"].bound is None
