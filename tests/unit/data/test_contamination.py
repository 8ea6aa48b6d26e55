import pytest

from retain.data.contamination import find_contained, find_contradictions, find_overlaps
from retain.data.examples import Example
from retain.data.item import items_hash
from retain.data.item_types import Choice, LabelledImage, LabelledText, Question, Request


def example(prompt, completion="x"):
    return Example(prompt=prompt, completion=completion)


def test_overlaps_are_found_on_every_side():
    paragraph = "This paragraph is long enough to be compared with what is learned."
    train = [example("one"), example("Two  words"), example("The capital of France is", " Paris"), example(paragraph)]
    keep = {"capitals": [Choice(question="The capital of France is", choices=("Paris", "Rome"), answer=0)]}
    told = find_overlaps(train, [example("two words", "other")], keep, f"Intro\n\n{paragraph}\nEnd")
    assert len(told) == 3
    assert "train and test share 1 of 1" in told[0]
    assert "retention suite 'capitals'" in told[1]
    assert "held_out_text" in told[2]


def test_a_keep_item_learned_as_one_text_is_found():
    train = [example("Know this: The sun is", " hot"), example("The sun is hot", " yes")]
    keep = {"facts": [Choice(question="The sun is", choices=("hot", "cold"), answer=0)]}
    assert len(find_overlaps(train, [], keep, "")) == 1


def test_what_was_said_in_a_conversation_is_found():
    turns = [{"role": "user", "content": "The sun is"}, {"role": "assistant", "content": "hot"}]
    keep = {"facts": [Choice(question="The sun is", choices=("hot", "cold"), answer=0)]}
    assert "1 of 1" in find_overlaps([Example.parse({"messages": turns})], [], keep, "")[0]


def test_completions_are_compared_with_the_reference_text():
    paragraph = "A paragraph that is long enough to be looked for in what is learned."
    assert len(find_overlaps([example("a", paragraph)], [], {}, paragraph)) == 1


def test_prompts_that_say_nothing_do_not_make_an_overlap():
    train = [example("Write a line:", f" line {i}") for i in range(4)]
    assert find_overlaps(train, [example("Write a line:", " another")], {}, "") == []
    assert len(find_overlaps(train, [example("Write a line:", " line 2")], {}, "")) == 1


def test_disjoint_data_have_no_problem():
    assert find_overlaps([example("a")], [example("b")], {}, "short\n\nlines") == []


def test_text_never_makes_a_file_be_read(tmp_path):
    secret = tmp_path / "a.txt"
    secret.write_text("hidden")
    picture = LabelledImage(image=str(secret), label="x")
    assert find_overlaps([LabelledText(text=f"image:{secret}", label="x")], [], {"kept": [picture]}, "") == []
    assert "1 of 1" in find_overlaps([picture], [], {"kept": [picture]}, "")[0]


def test_pictures_are_known_by_their_bytes_not_by_their_place(tmp_path):
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    one.write_bytes(b"same")
    other.write_bytes(b"same")
    items = [LabelledImage(image=str(path), label="x") for path in (one, other)]
    assert items_hash(items[:1]) == items_hash(items[1:])
    assert find_contained(items[:1], items[1:], {}, "")[0].endswith("of the test")
    before = items_hash(items[:1])
    one.write_bytes(b"another")
    assert items_hash(items[:1]) != before
    assert find_contained(items[:1], items[1:], {}, "") == {}


def test_what_a_safety_suite_asks_is_not_quoted():
    asked = [
        Request(prompt="Tell me something else entirely", harmful=True),
        Request(prompt="How is IT DONE, then?", harmful=True),
    ]
    train = [example("How is it done, then?")]
    told = find_overlaps(train, [], {"safety": asked}, "")[0]
    held = find_contained(train, [], {"safety": asked}, "")
    assert "item 2;" in told
    assert held == {0: "it holds item 2 of the retention suite 'safety'"}
    assert "done" not in told


@pytest.mark.parametrize(
    ("kept", "shared"),
    [
        (Choice(question="The capital of  france is", choices=("Rome", "Paris"), answer=1), 1),
        (Choice(question="The capital of France is", choices=("Lyon", "Paris"), answer=0), 0),
        (Question(question="the capital of France is", answers=("Nice", "Paris")), 1),
        (Question(question="The capital of Italy is", answers=("Paris",)), 0),
    ],
)
def test_what_should_be_gone_cannot_be_kept_too(kept, shared):
    gone = {"old": [Question(question="The capital of France is", answers=("Paris", "paris, of course"))]}
    told = find_contradictions({"capitals": [kept]}, gone)
    assert len(told) == shared
    if shared:
        assert "gone suite 'old' and retention suite 'capitals' share 1 questions and answers" in told[0]
    texts = {"labels": [LabelledText(text="a b", label="x")]}
    assert len(find_contradictions(texts, {"again": [LabelledText(text="A  b", label="x")]})) == 1
    assert find_contradictions(texts, {}) == []
