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


ANALYSIS = "<|channel|>analysis<|message|>a<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>"


@pytest.mark.parametrize(
    "text",
    [
        f"{ANALYSIS}{FINAL}<think>b</think>c",
        f"{FINAL}<think>b</think>c",
        f"{ANALYSIS}{FINAL}<think>b</think>\n<reasoning>d</reasoning>c",
        f"{ANALYSIS}<|channel|>commentary<|message|>I look.<|end|>{FINAL}<think>b</think>c",
        "<think>a <think>b</think> d</think>c",
        "<think>a <reasoning>b</reasoning> d</think>c",
        "<reasoning><think>b</think></reasoning>c",
        "<think>a <think> b <think> d</think> e</think>c",
        "<think>the mark <think> opens</think>c",
        "<thinking>a</think>c",
        "<think>a</think><|START_THINKING|>b<|END_THINKING|>c",
        f"<think>a{ANALYSIS}{FINAL}c",
    ],
)
def test_reasoning_within_and_behind_reasoning_is_parted(text):
    parted = part_reasoning(text)
    assert parted.answer == "c"
    assert not parted.is_open
    assert parted.reasoning is not None


def test_a_block_within_the_block_that_the_prompt_opened():
    assert part_reasoning("a <reasoning>b</reasoning> d</think>c", opened=True).answer == "c"
    assert part_reasoning("a <think>b</think> d</think>c", opened=True).answer == "c"


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (f"{ANALYSIS}{FINAL}<think>b", "b"),
        ("<think>a</think><think>b", "a</think><think>b"),
        ("<|channel|>analysis<|message|>the mark </think> closes", "the mark </think> closes"),
    ],
)
def test_reasoning_that_the_limit_cut_off_in_its_last_block_leaves_no_answer(text, reasoning):
    assert part_reasoning(text) == Parted(reasoning, "", is_open=True)
