"""Which regularisers read the text to keep."""

import pytest
from pydantic import ValidationError

from retain.recipe import RegularisationOptions


@pytest.mark.parametrize(
    ("values", "needs"),
    [
        ({}, False),
        ({"kl_weight": 0}, False),
        ({"kl_weight": "2"}, True),
        ({"kl_weight": "budget"}, True),
        ({"ewc": 0}, False),
        ({"ewc": 10.0}, True),
        ({"replay": 0.25}, True),
        ({"kl_monitor": True}, True),
        ({"update_limit": 0.1}, False),
        ({"update_limit": 0.1, "update_unit": "f_delta"}, True),
        ({"update_unit": "f_delta"}, False),
    ],
)
def test_a_regulariser_reads_text_to_keep_where_it_compares_outputs(values, needs):
    assert RegularisationOptions(**values).needs_keep_text is needs


@pytest.mark.parametrize("weight", ["much", "kl", [1]])
def test_a_weight_is_a_number_or_follows_the_budget(weight):
    with pytest.raises(ValidationError):
        RegularisationOptions(kl_weight=weight)
