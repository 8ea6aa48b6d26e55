"""Copies of items of each form, and the groups that they make."""

from __future__ import annotations

import pytest

from retain.data.copies import copies_sentence, keys_of, repeats_sentence, with_copies_grouped
from retain.data.examples import Example
from retain.data.item_types import Choice, LabelledImage, LabelledText, Match, Question, Request
from tiny import write_images

PAIRS = [
    (Choice(question="Q a?", choices=("b", "c"), answer=0), Choice(question="q a", choices=("C", "b."), answer=1)),
    (Question(question="Who?", answers=("x",)), Question(question=" who", answers=("y",))),
    (LabelledText(text="Good film.", label="yes"), LabelledText(text="good  film", label="no")),
    (Match(query="a b", match="c"), Match(query="A b.", match="d")),
    (Request(prompt="Do it!", harmful=True), Request(prompt="do it", harmful=True)),
    (Example(prompt="Say a", completion="b"), Example(prompt="say A", completion="b.")),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].form)
def test_rows_that_ask_the_same_are_one_unit(pair):
    first, second = with_copies_grouped(pair)
    assert first.group == second.group == "copies of row 1"
    assert len(set(keys_of(pair))) == 1


def test_prompts_that_say_little_do_not_make_copies():
    rows = [Example(prompt="", completion=word) for word in ("one", "two", "three", "one")]
    assert [item.group for item in with_copies_grouped(rows)] == ["copies of row 1", None, None, "copies of row 1"]


def test_the_same_picture_twice(tmp_path):
    folder = write_images(tmp_path, 1, classes=("red",))
    (path,) = folder.rglob("*.png")
    again = path.with_name("again.png")
    again.write_bytes(path.read_bytes())
    items = [LabelledImage(image=str(place), label="red") for place in (path, again)]
    assert len({item.group for item in with_copies_grouped(items)}) == 1


def test_without_copies_the_items_are_the_same():
    items = [Question(question=f"q {n}", answers=("a",), group="g") for n in range(3)]
    assert with_copies_grouped(items) is items
    assert copies_sentence("s", items) == repeats_sentence(items) == ""


def test_an_answer_that_differs_makes_another_row_to_learn():
    rows = [LabelledText(text="a", label="x"), LabelledText(text="a", label="y"), LabelledText(text="A", label="x")]
    assert repeats_sentence(rows).startswith("train: 3 rows are 2 distinct rows: 1 repeat another")
