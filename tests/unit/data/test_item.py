"""The answers that every form of item gives, and what the hashes of data rest on."""

import json

import pytest

from retain.data.examples import Example
from retain.data.family import Family, family_for, in_words, modality_of, provides
from retain.data.forms import FORMS
from retain.data.item import DataItem, PlainText, items_hash, labels_of, modality_of_items
from retain.data.item_types import Choice, LabelledImage, LabelledText, Match, Question, Request
from tiny import make_tokenizer

TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "a b"},
    {"role": "assistant", "content": "c"},
]
CHAT = Example.parse({"messages": TURNS})
IMAGE = LabelledImage(image="pets/cat/a.png", label="cat")
ITEMS = [
    Example(prompt="a", completion=" b"),
    Choice(question="q", choices=("x", "y"), answer=1),
    Question(question="q", answers=("x",)),
    LabelledText(text="a", text_pair="b", label="l"),
    IMAGE,
    Match(query="q", match="m"),
    Request(prompt="p", harmful=True),
]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.form)
def test_every_form_is_in_the_table_and_answers(item):
    assert FORMS[item.form] is type(item)
    assert item.texts
    assert item.measured_texts(prompts_differ=True)
    assert item.trained_texts
    assert (item.trains == "classifier") == item.is_labelled
    assert item.for_calibration.for_calibration == item.for_calibration
    assert (item.image_file is None) == (item.modality == "text")


def test_the_order_of_fields_in_hashes_is_that_of_ever():
    """Control data are drawn by these hashes; another order would draw other parts."""
    row = {"group": "g", "condition": "c"}
    assert [*json.loads(Example(prompt="a", completion="b", **row).content())] == [
        "prompt", "completion", "group", "condition",
    ]  # fmt: skip
    assert [*json.loads(Choice(question="a", choices=("b", "c"), answer=0, **row).content())] == [
        "question", "choices", "answer", "group", "condition",
    ]  # fmt: skip
    assert [*json.loads(Match(query="a", match="b", **row).content())] == ["group", "condition", "query", "match"]


def test_a_conversation_is_known_by_its_turns():
    assert CHAT.texts == ("be brief", "a b", "c")
    assert CHAT.question_texts == ("a b",)
    assert CHAT.full_text == "be brief\na b\nc"
    assert CHAT.prompt_text == "system: be brief\nuser: a b"


def test_a_prompt_that_says_little_is_measured_with_its_completion():
    item = Example(prompt="Write:", completion=" x")
    assert item.measured_texts(prompts_differ=True) == ("Write:",)
    assert item.measured_texts(prompts_differ=False) == ("Write:  x",)
    assert Example(prompt=" ", completion="x").measured_texts(prompts_differ=True) == ("  x",)


def test_a_choice_is_measured_with_its_right_answer():
    assert ITEMS[1].measured_texts(prompts_differ=True) == ("q", "q y")
    assert ITEMS[2].measured_texts(prompts_differ=True) == ("q", "q x")


def test_calibration_reads_examples_as_in_training_and_other_items_as_text():
    tokenizer = make_tokenizer()
    assert [tokenizer.decode(row) for row in ITEMS[0].calibration_tokens(tokenizer, 9)] == ["a b <eos>"]
    pair = ITEMS[3].for_calibration
    assert pair == PlainText(text="a b")
    assert [tokenizer.decode(row) for row in pair.calibration_tokens(tokenizer, 1)] == ["a", "b"]
    assert IMAGE.calibration_tokens(tokenizer, 9) == []
    assert IMAGE.for_calibration is IMAGE


def test_items_as_reports_show_them():
    assert ITEMS[3].shown == "a | b"
    assert IMAGE.shown == "cat/a.png"
    assert IMAGE.model_copy(update={"corruption": ("fog", 2, 0)}).shown == "cat/a.png (fog, severity 2)"


def test_a_hash_of_items_depends_on_order_and_content():
    assert items_hash(ITEMS) != items_hash(ITEMS[::-1])
    assert items_hash([IMAGE]) != items_hash([IMAGE.model_copy(update={"label": "dog"})])


def test_classes_are_named_once_and_sorted():
    other = LabelledText(text="z", label="a")
    assert labels_of([ITEMS[3], other, ITEMS[3], PlainText(text="t")]) == ["a", "l"]


def test_items_are_read_by_the_modality_of_the_first():
    assert (modality_of_items([IMAGE]), modality_of_items([CHAT]), modality_of_items([])) == ("image", "text", "text")


def test_a_form_of_ones_own_says_its_columns_and_texts():
    class Line(DataItem):
        form = "line"
        columns = ("line",)
        line: str

        @property
        def texts(self):
            return (self.line,)

    item = Line.parse({"line": "a", "domain": "verse", "more": 1})
    assert (item.condition, item.full_text, item.question_texts) == ("verse", "a", ("a",))
    assert item.for_calibration == PlainText(text="a")
    with pytest.raises(ValueError, match='"line" missing or empty \\(found "lines"\\)'):
        Line.parse({"lines": "a"})


@pytest.mark.parametrize("family", Family.__args__)
def test_families_are_made_of_modality_and_head(family):
    heads = [head for head in ("causal-lm", "classifier", "features") if provides(family, head)]
    assert heads[-1] == "features"
    assert family_for(heads[0], modality_of(family)) == family
    words = in_words(family)
    assert ("an image" in words) == (family == "image-classifier")
    assert words.endswith(family.replace("-", " "))
    assert ("a model of" in words) == family.endswith("features")
