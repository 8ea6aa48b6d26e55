"""Names of modules in a text are a list, and a pattern stays one."""

import pytest

from retain.recipe import Recipe
from retain.recipe.module_names import names_or_pattern
from retain.recipe.read_recipe import load_recipe

FILES = {"model": "m", "train": "t.jsonl", "test": "x.jsonl", "output": "o"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("q_proj", ["q_proj"]),
        (" q_proj ,v_proj,", ["q_proj", "v_proj"]),
        ("model.layers.0.mlp.up_proj", ["model.layers.0.mlp.up_proj"]),
        ("mlp.up_proj,0", ["mlp.up_proj", "0"]),
    ],
)
def test_names_are_a_list(text, read):
    assert names_or_pattern(text) == read


@pytest.mark.parametrize(
    "text", ["all-linear", ".*q_proj", "q_proj|v_proj", "model.layers..mlp.up_proj", r"\w{1,9}", "", "(["]
)
def test_a_pattern_stays(text):
    assert names_or_pattern(text) == text


def test_fields_of_a_method_that_name_modules_are_lists_in_every_run():
    fields = {"target_modules": "q_proj,v_proj", "modules_to_save": "score", "bias": "none", "layers_pattern": "h"}
    read = {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["score"], "bias": "none", "layers_pattern": "h"}
    one = load_recipe(Recipe, None, {**FILES, "method": {"name": "lora", **fields}})
    several = load_recipe(Recipe, None, {**FILES, "methods": ["vefa", {"name": "lora", **fields}]})
    assert [one.method_fields, several.runs()[1].method_fields] == [read, read]
