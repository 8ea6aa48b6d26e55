"""Which candidates the recipe of a sweep makes."""

import pytest
from pydantic import ValidationError

from retain.recipe import AdviseRecipe
from retain.records.recommended import Best, Point

BASIC = {"model": "m", "train": "t", "test": "s", "output": "o"}


def rates(recipe, name, *given):
    return {run.rate for run in recipe.runs(*given) if run.method_name == name}


def first(rate, *more, title="first", **fields):
    """What a benchmark has first, with these fields, to begin with at these learning rates."""
    at = [Point(task=f"t{rate}", learning_rate=rate, seeds=4, gain=1.0, unit="nats", lost={}) for rate in (rate, *more)]
    return Best(method="m", title=title, fields=fields, balanced=tuple(at), most=(), mean=1.2, figures=())


KL = first(6e-3, method={"name": "lora"}, kl_weight=3.0)


def test_which_candidates_a_recipe_makes():
    usual = AdviseRecipe(**BASIC)
    assert [(run.method_name, run.rate) for run in usual.runs()] == [
        ("lora", 5e-4), ("sc-lora", 1e-4), ("vefa", 3e-3), ("lora", 1.7e-4), ("lora", 1.5e-3),
        ("sc-lora", 3.3e-5), ("sc-lora", 3e-4), ("vefa", 1e-3), ("vefa", 9e-3),
    ]  # fmt: skip
    own = AdviseRecipe(**BASIC, method={"name": "lora", "lora_alpha": 4}, learning_rate=6e-3)
    assert own.runs()[0].method_fields == {"lora_alpha": 4}
    assert rates(own, "lora") == {2e-3, 6e-3, 1.8e-2}
    assert rates(own, "vefa") == {1e-3, 3e-3, 9e-3}
    other = AdviseRecipe(**BASIC, method="ia3")
    assert [entry["name"] for entry in other.swept] == ["lora", "sc-lora", "vefa", "ia3"]
    listed = AdviseRecipe(**BASIC, methods=("lora", "full"), learning_rates={"lora": [1e-2, 1e-3], "full": [1e-5]})
    assert [(run.method_name, run.rate) for run in listed.runs()] == [("lora", 1e-2), ("lora", 1e-3)]


def test_one_run_of_the_sweep_has_no_comparison_and_its_own_rank():
    recipe = AdviseRecipe(**BASIC, methods=("lora", {"name": "lorfa", "rank": 3}), rank=9, seeds=(4, 5))
    runs = recipe.runs()
    assert {(run.method_name, run.rank) for run in runs} == {("lora", 9), ("lorfa", 3)}
    assert {(run.methods, run.seeds, run.learning_rates, run.seed) for run in runs} == {((), 1, (), 4)}
    assert not any(hasattr(run, "sweep_steps") for run in runs)


def test_an_entry_of_methods_may_be_a_combination():
    decay = {"name": "lora", "training": {"weight_decay": 10.0}, "learning_rate": 1e-2}
    entries = ("lora", {"name": "sc-lora", "replay": 0.5, "rank": 4}, {"name": "lora", "kl_weight": 3.0}, decay)
    recipe = AdviseRecipe(**BASIC, methods=entries, training={"adam_beta2": 0.9})
    lora, sc_lora, penalised, decayed = recipe.runs()[:4]
    assert (lora.kl_weight, lora.replay, lora.own_values()) == (None, None, {"training": {"adam_beta2": 0.9}})
    assert (sc_lora.method, sc_lora.replay, sc_lora.rank) == ({"name": "sc-lora"}, 0.5, 4)
    assert (penalised.method, penalised.kl_weight, penalised.rate) == ({"name": "lora"}, 3.0, lora.rate)
    assert (decayed.training, decayed.rate) == ({"adam_beta2": 0.9, "weight_decay": 10.0}, 1e-2)
    assert {run.rate for run in recipe.runs() if "weight_decay" in run.training} == {3.3e-3, 1e-2, 3e-2}


def test_what_the_benchmark_has_first_is_tried_after_lora_at_its_learning_rate():
    runs = AdviseRecipe(**BASIC).runs("language", KL)
    assert [(run.method_name, run.kl_weight, run.rate) for run in runs[:5]] == [
        ("lora", None, 5e-4), ("lora", None, 6e-3), ("lora", 3.0, 6e-3), ("sc-lora", None, 1e-4), ("vefa", None, 3e-3),
    ]  # fmt: skip
    assert len(runs) == 3 * 4 + 1
    assert sorted(run.rate for run in runs if run.kl_weight) == [2e-3, 6e-3, 1.8e-2]
    several = AdviseRecipe(**BASIC).runs("language", first(6e-3, 1e-3, method={"name": "lora"}, kl_weight=3.0))
    assert sorted(run.rate for run in several if run.kl_weight) == [1e-3, 6e-3]
    own = AdviseRecipe(**BASIC, method={"name": "lora", "lora_alpha": 4}, learning_rate=1e-3).runs("language", KL)
    assert [(run.method_fields, run.rate, run.kl_weight) for run in own[:3]] == [
        ({"lora_alpha": 4}, 1e-3, None), ({"lora_alpha": 4}, 6e-3, None), ({"lora_alpha": 4}, 6e-3, 3.0),
    ]  # fmt: skip
    stated = AdviseRecipe(**BASIC, learning_rates=(1e-3, 2e-3)).runs("language", KL)
    assert {run.rate for run in stated} == {1e-3, 2e-3}


def test_a_usual_method_that_the_benchmark_has_first_takes_its_place():
    best = first(7e-4, method={"name": "sc-lora"}, rank=16)
    runs = AdviseRecipe(**BASIC).runs("encoder", best)
    assert [run.method_name for run in runs[:4]] == ["lora", "sc-lora", "vefa", "lora"]
    assert {(run.rank, run.rate) for run in runs if run.method_name == "sc-lora"} == {
        (16, 2.3e-4), (16, 7e-4), (16, 2.1e-3),
    }  # fmt: skip
    stated = AdviseRecipe(**BASIC, method="sc-lora", learning_rate=1e-3)
    assert rates(stated, "sc-lora", "encoder", best) == {3.3e-4, 1e-3, 3e-3}


def test_methods_that_a_recipe_lists_are_all_that_is_tried():
    listed = AdviseRecipe(**BASIC, methods=("lora", "vefa"))
    assert listed.runs("language", KL) == listed.runs("language")


def test_a_kind_of_model_has_learning_rates_of_its_own():
    assert rates(AdviseRecipe(**BASIC), "lora", "encoder") == {3.7e-4, 1.1e-3, 3.3e-3}
    assert rates(AdviseRecipe(**BASIC), "lora", "vision") == {1.7e-4, 5e-4, 1.5e-3}


@pytest.mark.parametrize(
    ("stated", "apart"),
    [
        ({}, []),
        ({"method": "vefa", "rank": 4, "ewc": 3.0}, []),
        ({"kl_weight": 3.0, "training": {"weight_decay": 10.0}}, []),
        ({"kl_weight": 0.0, "training": {"weight_decay": 1.0}}, ["kl_weight", "training.weight_decay"]),
        ({"method": {"name": "lora", "lora_alpha": 4}}, ["method.lora_alpha"]),
    ],
)
def test_what_a_recipe_states_otherwise_is_told(stated, apart):
    best = first(
        1e-3,
        method={"name": "lora", "lora_alpha": 8},
        kl_weight=3.0,
        training={"weight_decay": 10.0, "adam_beta2": 0.9},
    )
    assert AdviseRecipe(**BASIC, **stated).decided_otherwise(best) == apart


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replays": (1.0,)}, "below 1"),
        ({"methods": ("full",)}, "name an adapter"),
        ({"statistics": "s"}, "give calibrate_keep instead"),
        ({"run": "1/4"}, "a sweep has no shares"),
    ],
)
def test_sweeps_that_cannot_be_made_are_refused(values, reason):
    with pytest.raises(ValidationError, match=reason):
        AdviseRecipe(**BASIC, **values)


def test_one_share_is_a_list_of_one_and_text_to_keep_is_always_needed():
    recipe = AdviseRecipe(**BASIC, replays=0.5)
    assert recipe.replays == (0.5,)
    assert recipe.reads_keep_text
