"""The advice of a sweep: which fields count, what is written, and how long the full training would be."""

import pytest
import yaml

from retain.jobs.sweep.advise import advice_yaml, limit_of, sweep_fields, whole_steps
from retain.jobs.sweep.open_session import shared_fields
from retain.recipe import AdviseRecipe, Recipe
from retain.recipe.marks import fields_where
from retain.records.sweep_record import Recommendation

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}
CHOSEN = Recommendation(candidate=0, alpha=1.0, within=True)


def test_what_a_candidate_brings_is_not_what_all_share():
    shared = set(shared_fields())
    assert {"batch_size", "max_length", "beta", "calibrate_tokens", "kl_weight"} <= shared
    assert not shared & {"method", "rank", "learning_rate", "epochs", "max_steps", "replay", "margin", "output"}
    assert shared <= set(fields_where(Recipe, lambda decides: decides.part != "nothing"))


def test_the_advice_is_a_recipe_of_one_run():
    recipe = AdviseRecipe(**BASIC, methods=("lora", "vefa"), sweep_steps=3, replay=0.5, judge="j --key K", epochs=2.0)
    run = Recipe(**BASIC, method={"name": "lora", "lora_alpha": 4}, rank=4, learning_rate=0.01, seed=1)
    text = advice_yaml(recipe, run, CHOSEN)
    values = yaml.safe_load(text)
    assert "K" not in text.replace("KL", "")
    assert "say --judge" in text
    assert not set(values) & {*sweep_fields(), "judge", "replay"}
    advised = Recipe(**values)
    assert (advised.method, advised.rank, advised.rate) == ({"name": "lora", "lora_alpha": 4}, 4, 0.01)
    assert (advised.epochs, advised.output) == (2.0, "o/run")


def test_replay_and_a_coefficient_below_1_are_told():
    recipe, run = AdviseRecipe(**BASIC), Recipe(**BASIC, replay=0.25)
    text = advice_yaml(recipe, run, CHOSEN.model_copy(update={"alpha": 0.5}))
    assert yaml.safe_load(text)["replay"] == 0.25
    assert "Chosen at alpha 0.5" in text


@pytest.mark.parametrize(
    ("values", "rows", "steps"),
    [
        ({"max_steps": 7}, 100, 7),
        ({"batch_size": 8, "epochs": 1.0}, 17, 3),
        ({"batch_size": 8, "epochs": 2.0, "replay": 0.5}, 16, 8),
        ({"batch_size": 2, "epochs": 1.5, "training": {"gradient_accumulation_steps": 4}}, 16, 3),
    ],
)
def test_steps_of_the_full_training(values, rows, steps):
    assert whole_steps(Recipe(**BASIC, **values), rows) == steps


def test_the_limit_is_the_budgets_or_a_default():
    assert limit_of(AdviseRecipe(**BASIC, budget={"kl": 0.3})) == 0.3
    assert limit_of(AdviseRecipe(**BASIC)) == 0.1
