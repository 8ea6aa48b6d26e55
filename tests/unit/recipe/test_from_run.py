"""What a recipe takes over from an earlier run."""

from pathlib import Path

import pytest

from report_samples import sample_run, task_score
from retain.errors import InputError
from retain.recipe import Recipe, ScaleRecipe, load_recipe
from retain.recipe.from_run import export_values, scale_values, with_earlier
from retain.records.result import write_result

EARLIER = {
    "model": "m", "train": "t.jsonl", "test": "e.jsonl", "keep": ["a"], "held_out_text": ["text.txt"], "output": "o",
    "max_length": 64, "dtype": "float32", "seed": 5, "margin": 2.0, "keep_score": "token", "evaluation_batch_size": 4,
    "judge": "j --key K", "budget": {"a": 3.0, "kl": 0.1}, "control_share": 0.4,
}  # fmt: skip
"""Values of an earlier recipe that differ from the defaults."""


@pytest.fixture
def run(tmp_path):
    """The folder of a complete run."""

    def make(metric="exact_match", weights=("adapter",), **changed):
        folder = tmp_path / "first"
        folder.mkdir()
        recipe = Recipe(**{**EARLIER, **changed})
        (folder / "recipe.json").write_text(recipe.model_dump_json(exclude={"judge"}), encoding="utf-8")
        write_result(sample_run(task=(task_score(0.1, metric=metric),)), folder / "result.json")
        for name in weights:
            (folder / name).mkdir()
        return folder

    return make


def test_a_second_task_keeps_what_the_first_kept_and_learned(run):
    folder = run()
    values = with_earlier({"from_run": str(folder), "train": "u.jsonl", "test": "f.jsonl", "output": "p", "keep": "b"})
    recipe = Recipe(**values)
    assert recipe.model == str(folder / "merged")
    assert recipe.keep == ("a", "first:=e.jsonl", "b")
    assert recipe.held_out_text == ("text.txt",)
    assert recipe.budget == {"a": 3.0, "kl": 0.1, "first": 5.0}
    assert (recipe.max_length, recipe.dtype, recipe.keep_score, recipe.control_share) == (64, "float32", "token", 0.4)
    assert (recipe.seed, recipe.margin, recipe.evaluation_batch_size) == (0, 5.0, 32), "the second task's own"


def test_values_that_are_given_win_over_the_earlier_ones(run):
    values = with_earlier({"from_run": str(run()), "max_length": 32, "budget": {"kl": 1.0}})
    assert values["max_length"] == 32
    assert values["budget"] == {"a": 3.0, "kl": 1.0, "first": 5.0}


@pytest.mark.parametrize(
    ("metric", "limit"), [("exact_match", 5.0), ("chrf", 5.0), ("cross_entropy_nats_per_token", 0.05)]
)
def test_what_was_learned_may_be_lost_by_the_verdicts_margin_in_its_unit(run, metric, limit):
    assert with_earlier({"from_run": str(run(metric))})["budget"]["first"] == limit


def test_a_run_of_the_first_schema_says_its_unit_by_its_metrics_name(run):
    """The limit of a cross-entropy was read as points once its metric was an object."""
    folder = run()
    first = Path(__file__).parents[2] / "records_of_schema_1" / "first-look-vefa-lr0.003-seed0.json"
    (folder / "result.json").write_bytes(first.read_bytes())
    assert with_earlier({"from_run": str(folder)})["budget"]["first"] == 0.05


def test_without_a_budget_anywhere_none_is_made(run):
    assert with_earlier({"from_run": str(run(budget={}))})["budget"] == {}


def test_the_model_of_a_run_that_goes_on_cannot_be_chosen(run):
    with pytest.raises(InputError, match="leave --model out"):
        load_recipe(Recipe, None, {"from_run": str(run()), "model": "m"})


def test_a_run_is_scaled_with_its_own_data_and_how_they_were_measured(run):
    folder = run()
    path, values = scale_values(str(folder), {"alphas": [0.5]})
    recipe = load_recipe(ScaleRecipe, path, values)
    assert path is None
    assert (recipe.tuned, recipe.output) == (str(folder / "adapter"), str(folder / "scaled"))
    assert (recipe.model, recipe.keep, recipe.budget) == ("m", ("a",), {"a": 3.0, "kl": 0.1})
    assert (recipe.evaluation_batch_size, recipe.max_length, recipe.alphas) == (4, 64, (0.5,))
    assert (recipe.judge, recipe.margin) == (None, 5.0), "not taken over"


def test_of_a_run_that_was_scaled_back_all_that_was_trained_is_scaled(run):
    folder = run(weights=("trained", "adapter"))
    assert scale_values(str(folder), {})[1]["tuned"] == str(folder / "trained")


def test_a_run_that_went_on_counts_from_the_first_base(run):
    folder = run(from_run="runs/zero")
    assert scale_values(str(folder), {})[1]["origin"] == "runs/zero"


@pytest.mark.parametrize("source", [None, "recipe.yaml"])
def test_a_recipe_is_left_to_be_read(source):
    assert scale_values(source, {"model": "m"}) == (source, {"model": "m"})


def test_folders_that_are_no_complete_run_are_refused(tmp_path, run):
    with pytest.raises(InputError, match="no complete run"):
        with_earlier({"from_run": str(tmp_path)})
    with pytest.raises(InputError, match="holds no run"):
        scale_values(str(tmp_path), {})
    with pytest.raises(InputError, match="no trained weights"):
        scale_values(str(run(weights=())), {})


@pytest.mark.parametrize("source", ["/no/such/run", "./nothing", "a/b/c"])
def test_an_export_of_what_is_not_there_is_refused_before_its_output_is_asked_for(source):
    with pytest.raises(InputError, match=f"there is no folder {source}"):
        export_values(source, {"to": "merged"})


def test_a_hub_id_may_be_exported():
    assert export_values("owner/adapter", {"to": "merged"}) == (None, {"tuned": "owner/adapter", "to": "merged"})
