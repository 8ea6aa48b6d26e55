"""What a model is loaded as, and what cannot be measured or learned with it."""

import pytest

from retain.data.examples import Example
from retain.data.forms import Rows
from retain.data.item_types import Choice, LabelledImage, LabelledText, Match
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.families import (
    family_of,
    harness_problems,
    learning_problems,
    unknown_classes,
    unmeasurable,
)

TEXT = [LabelledText(text="a", label="x"), LabelledText(text="b", label="y")]
IMAGES = [LabelledImage(image="a.png", label="x"), LabelledImage(image="b.png", label="y")]
PICKED = Suite("picked", "choice", "keep", [Choice(question="q", choices=("a", "b"), answer=0)])
TOLD = Suite("told", "labels", "task", TEXT)
SEEN = Suite("seen", "labels", "keep", IMAGES)
PAIRED = Suite("paired", "retrieval", "keep", [Match(query="a", match="b")])
NEAR = Suite("near", "neighbours", "keep", IMAGES, bank=IMAGES, options={"k": 2})


@pytest.mark.parametrize(
    ("form", "suites", "family"),
    [
        ("completion", [TOLD], "causal-lm"),
        ("labels", [PAIRED], "text-classifier"),
        ("images", [NEAR], "image-classifier"),
        (None, [PICKED, PAIRED], "causal-lm"),
        (None, [TOLD, PAIRED], "text-classifier"),
        (None, [SEEN], "image-classifier"),
        (None, [PAIRED], "text-features"),
        (None, [NEAR], "image-features"),
        (None, [], "causal-lm"),
    ],
)
def test_the_data_say_what_a_model_is_loaded_as(form, suites, family):
    assert family_of(form, Suites(suites)) == family


def test_reference_text_asks_for_a_language_model():
    assert family_of(None, Suites([PAIRED], {"text": "a b"})) == "causal-lm"


@pytest.mark.parametrize(
    ("family", "able"),
    [
        ("causal-lm", {"picked", "paired"}),
        ("text-classifier", {"told", "paired"}),
        ("image-classifier", {"seen", "near"}),
        ("text-features", {"paired"}),
        ("image-features", {"near"}),
    ],
)
def test_what_a_model_cannot_be_asked_is_told_suite_by_suite(family, able):
    every = [PICKED, TOLD, SEEN, PAIRED, NEAR]
    told = unmeasurable(family, Suites(every))
    assert [problem.split(":")[0] for problem in told] == [one.name for one in every if one.name not in able]


def test_a_suite_without_items_is_not_told_of_twice():
    assert unmeasurable("image-classifier", Suites([Suite("none", "labels", "task", [])])) == []


def test_only_a_language_model_reads_reference_text():
    assert "token by token" in unmeasurable("text-classifier", Suites([], {"text": "a b"}))[0]


def test_what_is_only_measured_cannot_be_learned():
    told = learning_problems(Rows("choice", PICKED.items), "causal-lm", Suites([PICKED]))
    assert len(told) == 1
    assert told[0].startswith("train: rows of question, choices, answer are measured, not learned")
    example = Example(prompt="a", completion="b")
    assert learning_problems(Rows("completion", [example]), "causal-lm", Suites([PICKED])) == []


def test_nothing_is_said_of_data_that_could_not_be_read():
    assert learning_problems(Rows("completion", []), "causal-lm", Suites([TOLD])) == []


def test_values_on_a_scale_are_not_learned_but_few_rows_of_many_classes_are_measured():
    ages = [LabelledText(text=str(number), label=str(number * 7)) for number in range(20)]
    (told,) = learning_problems(Rows("labels", ages), "text-classifier", Suites([]))
    assert told.startswith('train: "label" holds 20 whole numbers (0, 7, 14, …) in 20 rows')
    known = [LabelledText(text="a", label=str(number)) for number in range(140)] * 2
    suite = Suite("few", "labels", "task", ages)
    assert learning_problems(Rows("labels", known), "text-classifier", Suites([suite])) == []


def test_one_class_is_nothing_to_learn_and_other_classes_nothing_to_measure():
    told = learning_problems(Rows("labels", TEXT[:1]), "text-classifier", Suites([TOLD, PAIRED]))
    assert len(told) == 2
    assert "at least two" in told[0]
    assert told[1].startswith("told: its classes y are not among those that the model knows or learns (x)")
    assert unknown_classes(["x", "y", "z"], Suites([TOLD, SEEN, NEAR])) == []


def test_more_neighbours_than_the_bank_holds_are_told():
    few = Suite("few", "neighbours", "keep", IMAGES, bank=IMAGES)
    assert "5 nearest neighbours vote, but its bank holds 2" in unmeasurable("image-features", Suites([few]))[0]


def test_tasks_of_the_harness_are_for_language_models_and_have_names_of_their_own():
    assert harness_problems((), "text-classifier", Suites([PICKED])) == []
    told = " ".join(harness_problems(("picked", "other"), "text-classifier", Suites([PICKED])))
    assert "are for language models" in told
    assert "picked is the name of a retention suite too" in told
