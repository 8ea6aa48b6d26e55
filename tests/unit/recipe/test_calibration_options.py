"""Sizes of memory, and who writes the text to keep."""

import pytest
from pydantic import ValidationError

from retain.recipe import CalibrateRecipe, CalibrationOptions
from retain.recipe.calibration_options import parsed_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("500MB", 5 * 10**8),
        ("1.5 kib", 1500),
        (" 7 ", 7),
        ("3T", 3 * 10**12),
        ("GB", None),
        ("-1", None),
    ],
)
def test_sizes_are_read(text, size):
    assert parsed_bytes(text) == size


def test_a_memory_limit_is_none_or_a_size():
    assert CalibrationOptions().memory_bytes is None
    assert CalibrationOptions(memory_limit="2GB").memory_bytes == 2 * 10**9
    with pytest.raises(ValidationError, match="KB, MB, GB or TB"):
        CalibrationOptions(memory_limit="much")


def test_calibration_measures_nothing_and_may_generate_its_text():
    recipe = CalibrateRecipe(model="m", output="o")
    assert recipe.generates_keep_text
    assert not CalibrateRecipe(model="m", output="o", calibrate_keep="k.txt").generates_keep_text
