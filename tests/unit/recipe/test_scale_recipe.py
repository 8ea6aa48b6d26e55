"""The fields of `retain scale`."""

import pytest
from pydantic import ValidationError

from retain.recipe import ScaleRecipe

BASIC = {"model": "m", "tuned": "t", "test": "e", "output": "o"}


def test_groups_are_read_from_colons():
    assert ScaleRecipe(**BASIC, groups=["layers.0:0.5", r"re:x:1"]).groups == {"layers.0": 0.5, "re:x": 1.0}
    with pytest.raises(ValidationError, match="NAME:NUMBER"):
        ScaleRecipe(**BASIC, groups=["layers"])


def test_a_coefficient_lies_between_0_and_1():
    assert ScaleRecipe(**BASIC, alpha=0).alpha == 0
    with pytest.raises(ValidationError):
        ScaleRecipe(**BASIC, alpha=1.5)
