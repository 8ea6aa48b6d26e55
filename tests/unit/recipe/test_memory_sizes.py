"""Sizes of memory in a recipe: those that Accelerate would read otherwise than meant, or not at all, are refused."""

import pytest
from pydantic import ValidationError

from retain.recipe.loading_options import LoadingOptions


@pytest.mark.parametrize("size", ["20GiB", "1.5 GiB", "500MB", "60", 0, 10**9, "20gib"])
def test_sizes_are_taken(size):
    assert LoadingOptions(device_map="auto", max_memory={"cpu": size}).max_memory["cpu"] == size


@pytest.mark.parametrize("size", ["lots", "", "-3GiB", -5, "60gb", "1.5", True])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValidationError, match="is no size"):
        LoadingOptions(device_map="auto", max_memory={"cpu": size})
