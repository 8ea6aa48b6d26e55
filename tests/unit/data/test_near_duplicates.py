"""Near-copies are told where they stand, short and different texts are not; what may not be shown is not."""

import itertools

import pytest

from retain.data.examples import Example
from retain.data.item_types import Choice, LabelledImage, LabelledText, Request
from retain.data.near_duplicates import find_near_duplicates

TEXT = "The council met on Tuesday to discuss the new bridge over the river, which will cost more than was planned."
COPY = "The council met on Tuesday to discuss the new bridge over the river, which will cost far more than was planned."
OTHER = "A storm that came in from the sea has torn down the old lighthouse, and nobody knows who is to pay for it now."


def example(prompt, completion="x"):
    return Example(prompt=prompt, completion=completion)


def test_near_copies_in_test_keep_and_held_out_text_are_told():
    train = [example(OTHER), example(TEXT)]
    keep = {"facts": [Choice(question=OTHER.replace("old", "tall"), choices=("yes", "no"), answer=0)]}
    found = find_near_duplicates(train, [example("One two three."), example(COPY)], keep, f"A heading\n{COPY}")
    assert [sentence.split(" nearly")[0] for sentence in found] == [
        "1 of 2 items of test",
        "1 of 1 items of retention suite 'facts'",
        "1 of 1 items of held_out_text",
    ]
    assert "the training item 2 (86% of their word pairs are the same)" in found[0]
    assert "the training item 1 " in found[1]


def test_the_nearest_training_item_is_named():
    train = [example(COPY), example(TEXT.removesuffix(" planned."))]
    assert "training item 2" in find_near_duplicates(train, [example(TEXT)], {}, "")[0]


def test_a_near_copy_of_a_paragraph_or_a_turn_is_told():
    train = [
        Example.parse(
            {"messages": [{"role": "user", "content": f"Read.\n{COPY}"}, {"role": "assistant", "content": "ok"}]}
        )
    ]
    assert len(find_near_duplicates(train, [], {"kept": [LabelledText(text=TEXT, label="x")]}, "")) == 1


@pytest.mark.parametrize(
    "text", [OTHER, TEXT[:60], "The capital of France is", " ".join(sorted(TEXT.split())), "", "\ud800 a b c d e f g"]
)
def test_other_and_short_texts_are_not_told(text):
    assert find_near_duplicates([example(TEXT), example("The capital of Spain is")], [example(text)], {}, text) == []


def test_prompts_that_say_nothing_do_not_make_near_duplicates():
    prompt = "Write a headline for the following article, in no more than ten words and without a full stop: "
    train = [example(prompt, f" line {number} of many") for number in range(4)]
    assert find_near_duplicates(train, [example(prompt, f" {OTHER}")], {}, "") == []


def test_what_is_withheld_is_not_quoted_and_images_are_left_out(tmp_path):
    image = LabelledImage(image=str(tmp_path / "a.png"), label="x")
    (sentence,) = find_near_duplicates(
        [example(COPY), image], [image], {"safe": [Request(prompt=TEXT, harmful=True)]}, ""
    )
    assert "item 1 the training item 1" in sentence
    assert "council" not in sentence


def test_all_pairs_of_like_texts_are_found():
    import random

    draw = random.Random(0)  # noqa: S311 -- texts, no secret
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(draw.choices(words, k=draw.randint(8, 14))) for _ in range(60)]
    near = [" ".join([*text.split()[:-1], "other"]) for text in texts]
    pairs = [set(itertools.pairwise(text.split())) for text in (*texts, *near)]
    like = [
        max((len(one & two) / len(one | two) for two in pairs[:60] if min(len(one), len(two)) >= 7), default=0)
        for one in pairs[60:]
    ]
    (sentence,) = find_near_duplicates(
        [example(text) for text in texts], [LabelledText(text=text, label="x") for text in near], {}, ""
    )
    assert sentence.startswith(f"{sum(similarity >= 0.8 for similarity in like)} of 60 items")
