"""The plan of a collection: its identity, and its division into parts where memory is short."""

from dataclasses import replace

import pytest
import torch

from calibration import batches, embedded, llama, sentences
from retain.activations.batches import Runner
from retain.activations.plan import Plan, parts_of, watching
from retain.errors import InputError
from retain.hf.models.sides import root_of
from retain.hf.tuners.targets import lora_targets

ROWS = sentences(4)
TARGETS = {"target_modules": "all-linear"}


@pytest.fixture
def plan():
    model = llama()
    return Plan(model, batches(ROWS), lora_targets(model, TARGETS, under_any=True), "weights", torch.float64, "none")


def parts(plan):
    return list(parts_of(plan, Runner(root_of(plan.model))))


def test_without_a_limit_there_is_one_part(plan):
    assert parts(plan) == [list(plan.layers)]


def test_each_part_fits_into_the_limit_and_sharers_stay_together(plan):
    largest = 8 * (24 * 24 + 24)
    found = parts(replace(plan, memory_limit=largest))
    assert [name for part in found for name in part] == list(plan.layers)
    assert len(found) > 2
    together = next(part for part in found if "model.layers.0.self_attn.q_proj" in part)
    assert {"model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj"} <= set(together)


def test_a_limit_below_one_layer_is_refused(plan):
    with pytest.raises(InputError, match=r"memory_limit=100 bytes: the sums of .* alone take"):
        parts(replace(plan, memory_limit=100))


def test_its_identity_is_what_must_stay_when_it_goes_on(plan):
    assert plan.identity == replace(plan, memory_limit=9, share=False, name="other").identity
    others = [
        {"model_hash": "other"},
        {"dtype": torch.float32},
        {"sample_norm": "max"},
        {"layers": dict(list(plan.layers.items())[:1])},
    ]
    assert len({replace(plan, **change).identity for change in others} | {plan.identity}) == 5
    assert plan.division != replace(plan, memory_limit=9).division


def test_only_models_of_transformers_may_be_broken_off(plan):
    assert plan.regular
    own = embedded(lambda: torch.nn.Linear(6, 6))
    assert not replace(plan, model=own).regular
    assert replace(plan, sample_norm="max").scaled


def test_a_capture_of_some_layers_observes_the_base(plan):
    name = next(iter(plan.layers))
    capture = plan.capture([name])
    assert list(capture.layers) == [name]
    with watching(plan, capture):
        capture.run(plan.model, plan.batches[0])
    assert list(capture.moments) == [name]
