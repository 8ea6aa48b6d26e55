"""What a recipe of a training says besides its fields: its single runs, its learning rate, what the result states."""

import re

import pytest

from retain.errors import InputError
from retain.methods.table import OTHER_LEARNING_RATE, learning_rate
from retain.recipe import Recipe, load_recipe
from retain.recipe.reserved_arguments import reserved_arguments

BASIC = {"model": "m", "train": "t.jsonl", "test": "e.jsonl", "output": "o"}


def test_a_comparison_is_methods_times_rates_times_seeds():
    recipe = load_recipe(
        Recipe,
        None,
        {
            **BASIC,
            "methods": ["lora", "vefa", {"name": "ia3", "feedforward_modules": ["up_proj"]}],
            "learning_rates": {"lora": [1e-4, 1e-3]},
            "seeds": 2,
            "rank": 4,
        },
    )
    runs = recipe.runs()
    assert [(run.method_name, run.rate, run.seed) for run in runs] == [
        ("lora", 1e-4, 0), ("lora", 1e-4, 1), ("lora", 1e-3, 0), ("lora", 1e-3, 1),
        ("vefa", 3e-3, 0), ("vefa", 3e-3, 1), ("ia3", 3e-3, 0), ("ia3", 3e-3, 1),
    ]  # fmt: skip
    assert [run.method_fields for run in runs[::2]] == [{}, {}, {}, {"feedforward_modules": ["up_proj"]}]
    assert all(run.rank == 4 and run.single() == run for run in runs)


def test_a_comparison_takes_regularisers_and_settings_by_method():
    entries = ["lora", {"name": "lora", "replay": 0.25, "max_steps": 7}, {"name": "lora", "kl_weight": 3, "r": 4}]
    decay = {"name": "lora", "learning_rate": 1e-2, "training": {"weight_decay": 10.0}}
    recipe = Recipe(
        **BASIC, methods=(*entries, decay), learning_rates=(1e-4, 1e-3), training={"warmup_steps": 2}, max_steps=32
    )
    runs = recipe.runs()
    assert [run.rate for run in runs] == [1e-4, 1e-3] * 3 + [1e-2]
    assert [(run.replay, run.kl_weight, run.max_steps) for run in runs[::2]] == [
        (None, None, 32), (0.25, None, 7), (None, 3.0, 32), (None, None, 32),
    ]  # fmt: skip
    assert runs[4].method_fields == {"r": 4}
    assert [run.training for run in runs[-2:]] == [{"warmup_steps": 2}, {"warmup_steps": 2, "weight_decay": 10.0}]
    assert [run.rate for run in recipe.variants()] == [1e-4, 1e-4, 1e-4, 1e-2]
    assert len({run.variant_key for run in runs}) == 4
    assert all(run.single() == run for run in runs)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "lora", "replay": 2}, "methods: lora: replay: expected a number below 1 (found 2)"),
        ({"name": "lora", "kl_weight": "budget"}, "methods: lora: KL penalty: budget needs a limit of kl"),
        ({"name": "ia3", "training": {"seed": 3}}, "methods: ia3: training.seed: say --seed"),
        ({"name": "ia3", "max_steps": 0}, "methods: ia3: max_steps: expected a number above 0 (found 0)"),
    ],
)
def test_a_methods_own_value_that_is_refused_is_told_with_its_method(entry, said):
    with pytest.raises(InputError, match=re.escape(said)):
        load_recipe(Recipe, None, {**BASIC, "methods": ["lora", entry]})


def test_a_single_run_forgets_the_comparison_and_nothing_else():
    recipe = Recipe(**BASIC, method="lora", methods=("vefa",), seeds=3, learning_rates=(1e-3,), epochs=2.0)
    assert recipe.single() == Recipe(**BASIC, method="lora", epochs=2.0)


def test_listed_seeds_are_taken_as_they_are_and_counted_ones_from_the_seed():
    assert [run.seed for run in Recipe(**BASIC, seeds=(4, 1)).runs()] == [4, 1]
    assert [run.seed for run in Recipe(**BASIC, seed=7, seeds=2).runs()] == [7, 8]


def test_the_learning_rate_is_the_methods_unless_it_is_given():
    assert Recipe(**BASIC).rate == learning_rate("vefa")
    assert Recipe(**BASIC, method="adalora").rate == OTHER_LEARNING_RATE
    assert Recipe(**BASIC, learning_rate=0.5).rate == 0.5


def test_a_kind_of_model_may_have_a_learning_rate_of_its_own():
    lora = Recipe(**BASIC, method="lora")
    assert (lora.of_kind("encoder").rate, lora.of_kind("encoder").method) == (1.1e-3, {"name": "lora"})
    assert lora.of_kind("language") is lora
    stated = Recipe(**BASIC, method="lora", learning_rate=2e-4)
    assert stated.of_kind("encoder") is stated


def test_what_a_run_states_of_its_own_is_what_an_entry_of_methods_may_give():
    entry = {"name": "lora", "kl_weight": 3.0, "rank": 4, "replay": 0.5, "training": {"weight_decay": 1.0}, "ewc": 0.0}
    own = Recipe(**BASIC, max_steps=3, margin=1.0).with_entry(entry)
    assert own.own_values() == {"kl_weight": 3.0, "training": {"weight_decay": 1.0}}
    assert (own.method, own.rank, own.replay, own.max_steps) == ({"name": "lora"}, 4, 0.5, 3)


def test_the_key_of_a_method_sees_its_fields_and_no_others():
    recipe = Recipe(**BASIC, method="lora")
    assert recipe.method_key == recipe.model_copy(update={"seed": 3, "learning_rate": 1.0, "replay": 0.5}).method_key
    others = ({"rank": 3}, {"beta": 0.1}, {"method": {"name": "lora", "lora_alpha": 2}})
    assert len({recipe.method_key, *(recipe.model_copy(update=other).method_key for other in others)}) == 4


ALWAYS = {"epochs", "max_steps", "batch_size", "max_length", "dtype", "training", "head"}
TEXT = {"calibrate_keep", "calibrate_learn", "calibrate_tokens", "calibrate_seed", "statistics"}


@pytest.mark.parametrize(
    ("values", "reads_text", "stated"),
    [
        ({}, False, ALWAYS),
        ({}, True, ALWAYS | TEXT),
        ({"kl_weight": 1.0, "accelerate": True}, True, ALWAYS | TEXT | {"kl_weight", "accelerate"}),
        ({"kl_weight": 1.0, "kl_on": "batch"}, False, ALWAYS | {"kl_weight", "kl_on"}),
        ({"feature_weight": 1.0}, False, ALWAYS | {"feature_weight", "feature_probe"}),
        ({"kl_weight": 0.0, "teacher": "x", "kl_temperature": 2.0}, False, ALWAYS),
        ({"replay": 0.0, "update_limit": 0.1}, False, ALWAYS | {"update_limit", "update_unit"}),
    ],
)
def test_the_result_states_what_was_used(values, reads_text, stated):
    assert Recipe(**BASIC, **values).recorded_fields(reads_text=reads_text) == stated


@pytest.mark.parametrize(
    ("argument", "advice"),
    [("num_train_epochs", "say --epochs"), ("per_device_train_batch_size", "say --batch-size"), ("seed", "say --seed")],
)
def test_arguments_that_have_a_flag_are_reserved(argument, advice):
    assert reserved_arguments(Recipe)[argument] == advice


@pytest.mark.parametrize(
    ("values", "acts"),
    [
        ({"budget": {"kl": 0.1}}, False),
        ({"budget": {"kl": 0.1}, "kl_weight": "budget"}, True),
        ({"budget": {"kl": 0.1}, "kl_monitor": True}, True),
        ({"budget": {"a": 1}, "kl_monitor": True}, False),
        ({"kl_weight": 2.0}, False),
    ],
)
def test_a_budget_acts_on_the_training_where_a_regulariser_follows_it(values, acts):
    assert Recipe(**BASIC, **values).limits_training is acts


def test_the_base_generates_the_text_to_keep_unless_other_text_or_moments_are_given():
    assert Recipe(**BASIC).generates_keep_text
    assert not Recipe(**BASIC, calibrate_keep="k.jsonl").generates_keep_text
    assert not Recipe(**BASIC, statistics="s").generates_keep_text
