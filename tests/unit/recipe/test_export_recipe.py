"""The fields of `retain export`."""

import pytest
from pydantic import ValidationError

from retain.recipe.export_recipe import ExportRecipe

BASIC = {"tuned": "t", "to": "lora", "output": "o"}


@pytest.mark.parametrize("given", ["gpt2", "Qwen/Qwen3-0.6B", "me/my_base.v2"])
def test_a_base_is_named_by_its_hub_id(given):
    assert ExportRecipe(**BASIC, base_model_id=given).base_model_id == given


@pytest.mark.parametrize(
    "given", ["/home/me/base", "./base", "../../x", "~/base", "C:\\models\\base", "a/b/c", "a/..b"]
)
def test_a_path_of_this_machine_is_no_hub_id_and_gets_into_no_file(given):
    with pytest.raises(ValidationError, match="OWNER/NAME"):
        ExportRecipe(**BASIC, base_model_id=given)
