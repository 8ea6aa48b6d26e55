"""Which candidates the recipe of a sweep makes."""

import pytest
from pydantic import ValidationError

from retain.recipe import AdviseRecipe

BASIC = {"model": "m", "train": "t", "test": "s", "output": "o"}


def test_which_candidates_a_recipe_makes():
    usual = AdviseRecipe(**BASIC)
    assert [(run.method_name, run.rate) for run in usual.runs()] == [
        ("lora", 5e-4), ("sc-lora", 1e-4), ("vefa", 3e-3), ("lora", 1.7e-4), ("lora", 1.5e-3),
        ("sc-lora", 3.3e-5), ("sc-lora", 3e-4), ("vefa", 1e-3), ("vefa", 9e-3),
    ]  # fmt: skip
    own = AdviseRecipe(**BASIC, method={"name": "lora", "lora_alpha": 4}, learning_rate=6e-3)
    assert own.runs()[0].method_fields == {"lora_alpha": 4}
    assert own.rates_of("lora") == [2e-3, 6e-3, 1.8e-2]
    assert own.rates_of("vefa") == [1e-3, 3e-3, 9e-3]
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
    assert recipe.needs_keep_text
