"""All that is measured, by its parts."""

from retain.data.item_types import LabelledImage, LabelledText
from retain.evaluate.suites.suite import Suite, Suites

TEXT = LabelledText(text="a", label="x")
IMAGE = LabelledImage(image="a.png", label="x")
TASK = Suite("task", "labels", "task", [TEXT])
NEAR = Suite("near", "neighbours", "keep", [IMAGE], bank=[IMAGE, IMAGE])


def test_the_modality_of_a_suite_is_that_of_its_items():
    assert (TASK.modality, NEAR.modality, Suite("none", "labels", "keep", ()).modality) == ("text", "image", "text")


def test_parts_and_banks_are_found():
    suites = Suites([TASK, NEAR], {"law": "one", "news": "two"})
    assert suites.of("task") == [TASK]
    assert suites.task_items == [TEXT]
    assert suites.keep_items == {"near": [IMAGE] * 3}
    assert suites.measured_items == [TEXT, IMAGE, IMAGE, IMAGE]
    assert suites.held_out_text_joined == "one\n\ntwo"
    assert Suites().measured_items == []
