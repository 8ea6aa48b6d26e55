"""The note on texts that nothing reads, where some rows cannot be read at all."""

from retain.data.examples import Example
from retain.data.item_types import LabelledText
from retain.data.unread import unread_note


def test_a_row_that_cannot_be_read_does_not_decide_on_the_cure():
    turns = [{"role": "user", "content": "Is it red?"}, {"role": "assistant", "content": "Yes."}]
    rows = [{"prompt": 3, "context": "A red house."}, {"messages": turns, "context": "A blue house stands here."}]
    assert unread_note(rows, Example.parse) == (
        '"context" holds text that is not read; where the answer depends on it, write it into "messages"'
    )


def test_a_pair_that_cannot_be_read_does_not_hide_the_second_column():
    rows = [
        {"text": "", "text_pair": "b", "label": "x"},
        {"text": "A red house.", "label": "x", "passage": "It is red."},
    ]
    assert unread_note(rows, LabelledText.parse).endswith('write it into "text", or name it "text_pair"')


def test_nothing_is_told_where_no_row_can_be_read():
    assert unread_note([{"prompt": 3, "context": "A red house stands here."}], Example.parse) == ""
