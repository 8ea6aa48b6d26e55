"""Texts to calibrate on: how many are considered, in which order, and what they may not hold."""

import pytest

from retain.data.examples import Example
from retain.data.item import PlainText
from retain.data.item_types import LabelledImage, LabelledText
from retain.errors import InputError
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.calibration_texts import (
    considered,
    for_calibration,
    given_statistics,
    read_calibration,
    text_hashes,
)
from retain.recipe import CalibrateRecipe

TEXTS = [PlainText(text=f"text {number} " + "x" * 191) for number in range(60)]


def recipe(**fields):
    return CalibrateRecipe(**{"model": "m", "output": "o", **fields})


def test_about_as_many_as_the_tokens_need_in_a_drawn_order():
    found = considered(TEXTS, 100)
    assert 9 <= len(found) <= 11
    assert found == considered(TEXTS, 100)
    assert found != TEXTS[: len(found)]
    assert {one.text for one in considered(TEXTS, 10**6)} == {one.text for one in TEXTS}


def test_an_image_counts_for_its_patches():
    images = [LabelledImage(image=f"{number}.png", label="x") for number in range(40)]
    assert len(considered(images, 640)) == 10


def test_items_become_what_a_model_reads():
    example, image = Example(prompt="a", completion="b"), LabelledImage(image="a.png", label="x")
    assert for_calibration([example, image, PlainText(text="c")]) == [example, image, PlainText(text="c")]
    assert for_calibration([LabelledText(text="d e", label="x")])[0].full_text.startswith("d e")


def test_the_training_data_are_learned_unless_others_are_given(tmp_path):
    problems = []
    train = [Example(prompt="a", completion="b")]
    assert read_calibration(recipe(calibrate_keep="self"), ["keep", "learn"], train, Suites(), problems) == {
        "learn": train
    }
    (tmp_path / "other.txt").write_text("some other text", encoding="utf-8")
    given = recipe(calibrate_learn=str(tmp_path / "other.txt"))
    assert read_calibration(given, ["learn"], train, Suites(), problems) == {
        "learn": [PlainText(text="some other text")]
    }
    assert problems == []


def test_a_text_that_holds_what_is_measured_is_a_problem(tmp_path):
    phrase = "the quick brown fox jumps over the lazy dog and runs far away from here"
    (tmp_path / "keep.txt").write_text(f"before {phrase} after", encoding="utf-8")
    suites = Suites([Suite("said", "completion", "keep", [Example(prompt=phrase, completion=" today")])])
    problems = []
    read_calibration(recipe(calibrate_keep=str(tmp_path / "keep.txt")), ["keep"], [], suites, problems)
    assert len(problems) == 1
    assert problems[0].startswith("calibrate_keep: 1 of 1 texts hold what is measured")


def test_a_set_is_hashed_by_its_content():
    one, other = (text_hashes({"keep": [PlainText(text=text) for text in texts]}) for texts in ("ab", "ac"))
    assert list(one) == ["calibrate:keep"]
    assert one != other


def test_second_moments_that_are_missing_are_refused(tmp_path):
    assert given_statistics(str(tmp_path), []) == {}
    with pytest.raises(InputError, match="no statistics here"):
        given_statistics(str(tmp_path), ["keep"])
