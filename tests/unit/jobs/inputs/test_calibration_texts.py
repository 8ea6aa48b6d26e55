"""Texts to calibrate on: how many are considered, in which order, and what they may not hold."""

import pytest

from retain.data.item_types import Example, LabelledImage, LabelledText
from retain.errors import InputError
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.calibration_texts import (
    as_passages,
    considered,
    given_statistics,
    passage_hashes,
    read_calibration,
)
from retain.recipe import CalibrateRecipe

TEXTS = [f"text {number} " + "x" * 191 for number in range(60)]


def recipe(**fields):
    return CalibrateRecipe(**{"model": "m", "output": "o", **fields})


def test_about_as_many_as_the_tokens_need_in_a_drawn_order():
    found = considered(TEXTS, 100)
    assert 9 <= len(found) <= 11
    assert found == considered(TEXTS, 100)
    assert found != TEXTS[: len(found)]
    assert sorted(considered(TEXTS, 10**6)) == sorted(TEXTS)


def test_an_image_counts_for_its_patches():
    images = [LabelledImage(image=f"{number}.png", label="x") for number in range(40)]
    assert len(considered(images, 640)) == 10


def test_items_become_what_a_model_reads():
    example, image = Example(prompt="a", completion="b"), LabelledImage(image="a.png", label="x")
    assert as_passages([example, image, "c"]) == [example, image, "c"]
    assert as_passages([LabelledText(text="d e", label="x")])[0].startswith("d e")


def test_the_training_data_are_learned_unless_others_are_given(tmp_path):
    problems = []
    train = [Example(prompt="a", completion="b")]
    assert read_calibration(recipe(calibrate_keep="self"), ["keep", "learn"], train, Suites(), problems) == {
        "learn": train
    }
    (tmp_path / "other.txt").write_text("some other text", encoding="utf-8")
    given = recipe(calibrate_learn=str(tmp_path / "other.txt"))
    assert read_calibration(given, ["learn"], train, Suites(), problems) == {"learn": ["some other text"]}
    assert problems == []


def test_a_text_that_holds_what_is_measured_is_a_problem(tmp_path):
    phrase = "the quick brown fox jumps over the lazy dog and runs far away from here"
    (tmp_path / "keep.txt").write_text(f"before {phrase} after", encoding="utf-8")
    suites = Suites([Suite("said", "completion", "keep", [Example(prompt=phrase, completion=" today")])])
    problems = []
    read_calibration(recipe(calibrate_keep=str(tmp_path / "keep.txt")), ["keep"], [], suites, problems)
    assert len(problems) == 1
    assert problems[0].startswith("calibrate_keep: 1 of 1 passages hold what is measured")


def test_a_set_is_hashed_by_its_content():
    one, other = passage_hashes({"keep": ["a", "b"]}), passage_hashes({"keep": ["a", "c"]})
    assert list(one) == ["calibrate:keep"]
    assert one != other


def test_second_moments_that_are_missing_are_refused(tmp_path):
    assert given_statistics(str(tmp_path), []) == {}
    with pytest.raises(InputError, match="no statistics here"):
        given_statistics(str(tmp_path), ["keep"])
