"""Suites told apart by name and by what they measure; taking some of their items; what calibration data hold."""

from dataclasses import replace

import pytest

from retain.data.forms import evenly
from retain.data.item_types import LabelledText
from retain.data.passages import read_calibration_texts
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.classes_told import classes_beside
from retain.jobs.inputs.data import apart_hashes, suite_hashes
from retain.jobs.inputs.read import distinct, read_held_out, read_suites
from retain.recipe import MeasureRecipe

ITEMS = [LabelledText(text=f"{label}{number}", label=label) for label in "xyz" for number in range(10)]
KEPT = Suite("same", "labels", "keep", ITEMS)


def test_a_keep_suite_named_as_the_task_is_renamed_and_two_of_one_name_are_told():
    problems = []
    found = distinct([KEPT, replace(KEPT, part="task")], problems)
    assert ([one.name for one in found], problems) == (["same", "same (kept)"], [])
    distinct([KEPT, KEPT], problems)
    assert "another retention suite named 'same'" in problems[0]


def test_two_reference_texts_of_one_name_are_told(tmp_path):
    problems = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text.txt").write_text(f"of {folder}")
    read_held_out([str(tmp_path / folder / "text.txt") for folder in ("a", "b")], problems)
    assert len(problems) == 1
    assert "another text named 'text'" in problems[0]


def test_other_options_are_another_measurement_of_the_same_items():
    one, other = (Suites([replace(KEPT, options={"classes": count})]) for count in (3, 4))
    assert suite_hashes(one) != suite_hashes(other)
    assert apart_hashes(one) == apart_hashes(other)


def test_items_sorted_by_class_are_tested_evenly(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text("".join(item.model_dump_json(exclude_none=True) + "\n" for item in ITEMS))
    recipe = MeasureRecipe(model="m", tuned="t", output="o", test=str(path), test_items=6)
    assert {item.label for item in read_suites(recipe, []).task_items} == {"x", "y", "z"}


@pytest.mark.parametrize("sizes", [(50, 1, 1), (1, 50), (30, 30, 30), (5,) * 12])
def test_evenly_is_never_more_than_asked(sizes):
    items = [LabelledText(text="a", label="x", group=f"g{n}") for n, size in enumerate(sizes) for _ in range(size)]
    found = evenly(items, 20)
    assert 2 <= len(found) <= 20


def test_a_table_is_read_by_its_rows_and_pairs_stay_together(tmp_path):
    path = tmp_path / "text.csv"
    path.write_text("text,text_pair\nOne text.,Its other.\nAlone.,\n")
    assert [item.text for item in read_calibration_texts(str(path), [])] == ["One text. Its other.", "Alone."]


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ('{"id2label": {"1": "a", "0": "b"}}', ["b", "a"]),
        ('{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}', None),
        ("{}", None),
        ("no json", None),
    ],
)
def test_the_order_of_classes_stands_in_a_configuration_beside_an_adapter(tmp_path, text, classes):
    (tmp_path / "config.json").write_text(text)
    assert classes_beside(tmp_path) == classes


@pytest.mark.parametrize("labels", ["b, a,c", ["b,a,c"], ["b", "a", "c"]])
def test_classes_are_given_with_commas_or_apart(labels):
    assert MeasureRecipe(model="m", tuned="t", output="o", test="d", labels=labels).labels == ("b", "a", "c")
