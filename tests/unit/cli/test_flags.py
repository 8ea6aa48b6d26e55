"""Flags become what a recipe takes: switches with and without a value."""

import pytest

from retain.cli.flags import bare_switches, named_method, overrides
from retain.cli.main import make_parser
from retain.recipe import CalibrateRecipe, MeasureRecipe, Recipe


def read(*arguments):
    words = bare_switches(list(arguments), (Recipe, MeasureRecipe, CalibrateRecipe))
    given = make_parser().parse_args(named_method(words), defaults=False)
    return given[given.verb].get("recipe"), overrides(given[given.verb])


@pytest.mark.parametrize("flag", ["gate", "drift", "store-answers", "trust-remote-code"])
@pytest.mark.parametrize(
    ("said", "meant"), [([], True), (["true"], True), (["false"], False), (["no"], False), (["False"], False)]
)
def test_a_switch_alone_means_true(flag, said, meant):
    name = flag.replace("-", "_")
    assert read("measure", f"--{flag}", *said)[1] == {name: meant}
    assert read("measure", f"--{flag}", *said, "--model", "m")[1] == {name: meant, "model": "m"}


def test_a_switch_takes_neither_the_recipe_nor_another_flag():
    assert read("tune", "--store-answers", "r.yaml", "--drift=false") == (
        "r.yaml",
        {"store_answers": True, "drift": False},
    )


def test_calibrate_has_no_flag_that_does_nothing():
    for flag in ("--judge", "--margin", "--margin-nats", "--keep-score", "--generate"):
        with pytest.raises(SystemExit):
            read("calibrate", flag, "1")
    assert read("calibrate", "--keep-items", "9", "--test-items", "8")[1] == {"keep_items": 9, "test_items": 8}
