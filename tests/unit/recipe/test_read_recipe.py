from pathlib import Path

import pytest

from retain.errors import InputError
from retain.recipe import MeasureRecipe, Recipe, load_recipe
from retain.recipe.read_recipe import load_what_can_be

BASIC = {"model": "m", "train": "t.jsonl", "test": "e.jsonl", "output": "o"}


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_flags_alone_make_a_recipe():
    recipe = load_recipe(Recipe, None, {**BASIC, "method": {"name": "lora", "lora_dropout": 0.1}, "rank": 4})
    assert recipe.method_name == "lora"
    assert recipe.method_fields == {"lora_dropout": 0.1}
    assert recipe.rank == 4
    assert recipe.rate == 5e-4


def test_a_flag_replaces_the_recipes_value_and_merges_what_has_parts(tmp_path):
    path = write(
        tmp_path,
        "model: m\ntrain: t\ntest: e\noutput: o\nmethod: {name: lora, r: 4}\ntraining: {bf16: true, warmup_steps: 3}\n",
    )
    recipe = load_recipe(Recipe, path, {"method": {"lora_alpha": 8}, "training": {"bf16": False}, "output": "p"})
    assert recipe.method == {"name": "lora", "r": 4, "lora_alpha": 8}
    assert recipe.training == {"bf16": False, "warmup_steps": 3}
    assert recipe.output == "p"
    assert load_recipe(Recipe, path, {"method": {"name": "vefa"}}).method == {"name": "vefa"}


def test_all_problems_come_at_once(tmp_path):
    path = write(tmp_path, "model: m\nepochs: -1\nbatch_size: many\nlerning_rate: 1\n")
    with pytest.raises(InputError) as error:
        load_recipe(Recipe, path, {})
    told = "\n".join(error.value.problems)
    assert all(
        word in told for word in ("train: missing", "output: missing", "epochs", "batch_size", "lerning_rate: is no")
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"method": {"r": 3}}, "method has no name"),
        ({"training": {"seed": 3}}, "say --seed"),
        ({"seeds": 0}, "at least one"),
        ({"learning_rates": [0.0]}, "above 0"),
        ({"methods": ["lora"], "learning_rates": {"vefa": [1e-2]}}, "'vefa' is not among methods"),
        ({"test": None}, "nothing to measure"),
        ({"generate": 1}, "at least 2"),
        ({"training": {"hub_token": "x"}}, "hub_token"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, told):
    with pytest.raises(InputError) as error:
        load_recipe(Recipe, None, {**BASIC, **change})
    assert told in str(error.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="recipe"):
        load_recipe(Recipe, write(tmp_path, text), {})


def test_yaml_cannot_run_code(tmp_path):
    with pytest.raises(InputError):
        load_recipe(Recipe, write(tmp_path, "model: !!python/object/apply:os.getcwd []\n"), {})


def test_a_number_that_yaml_takes_for_text_is_a_number(tmp_path):
    text = "model: m\ntrain: t\ntest: e\noutput: ~/o\ntraining: {weight_decay: 1e-2, optim: adamw_torch}\n"
    recipe = load_recipe(Recipe, write(tmp_path, text), {})
    assert recipe.training == {"weight_decay": 0.01, "optim": "adamw_torch"}
    assert recipe.output == str(Path.home() / "o")


def test_methods_on_the_command_line_leave_the_recipes_other_rates_aside(tmp_path):
    text = (
        "model: m\ntrain: t\ntest: e\noutput: o\nmethods: [lora, vefa]\nlearning_rates: {lora: [1.0e-3], vefa: [0.1]}\n"
    )
    runs = load_recipe(Recipe, write(tmp_path, text), {"methods": ["vefa"]}).runs()
    assert [(run.method_name, run.rate) for run in runs] == [("vefa", 0.1)]


def test_measure_takes_its_own_fields():
    recipe = load_recipe(MeasureRecipe, None, {"model": "m", "tuned": "t", "keep": "k.jsonl", "output": "o"})
    assert recipe.keep == ("k.jsonl",)
    with pytest.raises(InputError, match="rank"):
        load_recipe(MeasureRecipe, None, {"model": "m", "tuned": "t", "keep": "k", "output": "o", "rank": 3})


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[3].glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_whole(path):
    assert load_recipe(Recipe, str(path), {}).runs()


@pytest.mark.parametrize(
    ("recipe", "values", "flag"), [(Recipe, {}, "--train"), (MeasureRecipe, {"model": "m", "output": "o"}, "--tuned")]
)
def test_what_is_missing_is_named_by_its_flag(recipe, values, flag):
    with pytest.raises(InputError, match=flag):
        load_recipe(recipe, None, {**values, "test": "t"})


@pytest.mark.parametrize("budget", ["capitals", ["kl:x"], ["a:1", "a:2"]])
def test_a_budget_that_cannot_be_read_is_refused_before_an_earlier_run_is_looked_for(budget):
    with pytest.raises(InputError, match="budget"):
        load_recipe(Recipe, None, {**BASIC, "from": "nowhere", "budget": budget})


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"learning_rate": -3}, {"learning_rate"}),
        ({"margin": 500, "seed": "x", "method": "vefaa"}, {"margin", "seed"}),
    ],
)
def test_what_is_left_without_wrong_fields_can_be_looked_at(fields, wrong):
    given = {"model": "m", "train": "t.jsonl", "test": "e.jsonl", "output": "o", **fields}
    found, problems = load_what_can_be(Recipe, None, given)
    assert found is not None
    assert {problem.partition(":")[0] for problem in problems} == wrong
    assert (found.train, found.method_name) == ("t.jsonl", fields.get("method", found.method_name))


def test_nothing_is_left_of_a_recipe_that_needs_what_is_wrong():
    given = {"model": "m", "train": "t.jsonl", "test": "e.jsonl"}
    for output in ({}, {"output": 3}, {"output": ["a"]}):
        found, problems = load_what_can_be(Recipe, None, given | output)
        assert (found.train, len(problems)) == ("t.jsonl", 1)
        assert problems[0].startswith("output: ")
    found, problems = load_what_can_be(Recipe, None, {"model": "m", "train": 3, "test": "e.jsonl", "output": "o"})
    assert found is None
    assert len(problems) == 1


@pytest.mark.parametrize("name", ["no/such/recipe.yaml", "nothing"])
def test_a_recipe_that_is_not_there_is_said_to_be_missing(name):
    with pytest.raises(InputError, match=f"{name}: there is no such file or folder"):
        load_recipe(Recipe, name, {})
