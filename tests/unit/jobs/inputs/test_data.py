"""Hashes of data: of content, of how a suite measures, and of what second moments were kept apart from."""

import json
from dataclasses import replace

import pytest

from retain.data.item import PlainText
from retain.data.item_types import LabelledText
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.data import APART, Data, apart_hashes, not_apart, suite_hash, suite_hashes

ITEMS = [LabelledText(text=f"{label}{number}", label=label) for label in "xy" for number in range(4)]
KEPT = Suite("kept", "neighbours", "keep", ITEMS, bank=ITEMS[:2], options={"k": 1})
TASK = Suite("named", "labels", "task", ITEMS)
SUITES = Suites([TASK, KEPT], {"text": "a b c"})


def test_each_part_has_a_hash_under_its_name():
    data = Data(
        ITEMS,
        SUITES,
        texts={"keep": [PlainText(text="a"), PlainText(text="b")]},
        control=Suites([KEPT]),
        everything=SUITES,
    )
    assert list(data.hashes) == ["train", "calibrate:keep", "test", "keep:kept", "held_out_text", "control:keep:kept"]
    assert data.everything_hashes == suite_hashes(SUITES)
    assert data.labels == ["x", "y"]


def test_given_second_moments_stand_for_their_texts():
    assert Data(ITEMS, SUITES, statistics={"keep": "ab"}).hashes["calibrate:keep"] == "ab"


@pytest.mark.parametrize(
    "change", [{"task_type": "labels"}, {"options": {"k": 2}}, {"items": ITEMS[1:]}, {"bank": ITEMS[2:4]}]
)
def test_a_suite_is_hashed_by_all_that_it_measures_by(change):
    assert suite_hash(replace(KEPT, **change)) != suite_hash(KEPT)
    assert suite_hash(replace(KEPT, name="other", facts={"title": "Other"})) == suite_hash(KEPT)


def test_suites_that_given_second_moments_were_not_kept_apart_from_are_noted(tmp_path):
    assert len(not_apart(str(tmp_path), SUITES)) == 3
    (tmp_path / APART).write_text(json.dumps(apart_hashes(SUITES)), encoding="utf-8")
    assert not_apart(str(tmp_path), SUITES) == []
    other = Suites([TASK, replace(KEPT, items=ITEMS[1:])], {"text": "a b c"})
    (note,) = not_apart(str(tmp_path), other)
    assert "were not kept apart from keep:kept" in note


def test_near_duplicates_are_told():
    words = "a long sentence of more than seven words that says one thing"
    train = [LabelledText(text=f"{words} alone", label="x")]
    tested = replace(TASK, items=[LabelledText(text=words, label="y")])
    (sentence,) = Data(train, Suites(), everything=Suites([tested, KEPT])).near_duplicates
    assert sentence.startswith("1 of 1 items of test nearly repeat training items, for instance 'a long sentence")
