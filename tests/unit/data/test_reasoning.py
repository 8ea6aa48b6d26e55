"""Reasoning parted from answers, by the marks of several families of models."""

import pytest

from retain.data.reasoning import MARKS, Parted, empty_block, opens_reasoning, part_reasoning, without_block_at_end


@pytest.mark.parametrize("marks", MARKS, ids=lambda marks: marks[0])
def test_the_marks_of_each_family_part_reasoning_from_the_answer(marks):
    opening, closing = marks
    assert part_reasoning(f"{opening}\na\n{closing}\n\nb") == Parted("a", "\n\nb")
    assert part_reasoning(f"a{closing}b", opened=True) == Parted("a", "b")
    assert part_reasoning(f"{opening}a") == Parted("a", "", is_open=True)
    assert opens_reasoning(f"x{opening}\n")
    assert without_block_at_end(f"x{opening}\n\n{closing}\n\n") == "x"
    assert empty_block(f"{opening}\n\n{closing}\n\n b") == len(f"{opening}\n\n{closing}\n\n")


@pytest.mark.parametrize("text", ["a", "Close it with </think>", "what is <think> for?", "see <think> and </think> x"])
def test_an_answer_that_names_a_mark_is_an_answer(text):
    assert part_reasoning(text) == Parted(None, text)


def test_the_first_end_counts_and_further_blocks_are_passed():
    assert part_reasoning("<think>a</think>The tag </think> ends it").answer == "The tag </think> ends it"
    assert part_reasoning("<think>a</think>\n<think>b</think>c").answer == "c"
