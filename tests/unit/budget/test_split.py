"""Control data: drawn by content, groups whole, and enough of them for a certificate."""

from dataclasses import replace

import pytest

from retain.budget.split import BLOCK_CHARACTERS, blocked, blocks, limit_problems, limit_words, split
from retain.data.item_types import Choice
from retain.evaluate.suites.suite import Suite, Suites

ITEMS = [Choice(question=f"question {i}", choices=("a", "b"), answer=0) for i in range(100)]
KEPT = Suite("kept", "choice", "keep", ITEMS)
OTHER = Suite("other", "choice", "keep", ITEMS[:10])
TASK = Suite("kept too", "choice", "task", ITEMS)
TEXT = "\n\n".join(f"paragraph {i} " + "x" * 200 for i in range(60))
SUITES = Suites([TASK, KEPT, OTHER], {"text": TEXT})


def test_only_what_has_a_limit_is_split():
    parts = split(SUITES, ["kept"], 0.3)
    assert [suite.name for suite in parts.control.all] == ["kept"]
    assert len(parts.control.all[0].items) == 30
    assert [len(suite.items) for suite in parts.evaluation.all] == [100, 70, 10]
    assert parts.evaluation.held_out_text == {"text": TEXT}
    assert not parts.control.held_out_text


def test_the_parts_are_disjoint_and_complete_in_any_order():
    parts = split(SUITES, ["kept"], 0.3)
    control = {item.question for item in parts.control.all[0].items}
    evaluated = {item.question for item in parts.evaluation.of("keep")[0].items}
    assert not control & evaluated
    assert control | evaluated == {item.question for item in ITEMS}
    turned = split(Suites([replace(KEPT, items=ITEMS[::-1])]), ["kept"], 0.3)
    assert {item.question for item in turned.control.all[0].items} == control


def test_more_control_data_keep_those_that_were():
    small, large = (
        {item.question for item in split(SUITES, ["kept"], share).control.all[0].items} for share in (0.2, 0.5)
    )
    assert small < large


def test_groups_and_equal_items_stay_together():
    grouped = [item.model_copy(update={"group": f"g{i // 5}"}) for i, item in enumerate(ITEMS)]
    parts = split(Suites([replace(KEPT, items=grouped)]), ["kept"], 0.25)
    control = {item.group for item in parts.control.all[0].items}
    assert len(control) == 5
    assert not control & {item.group for item in parts.evaluation.all[0].items}
    twice = split(Suites([replace(KEPT, items=[*ITEMS[:4], *ITEMS[:4]])]), ["kept"], 0.5)
    assert [len(part.all[0].items) for part in twice] == [4, 4]


@pytest.mark.parametrize(("units", "share", "count"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.25, 3), (1, 0.5, 1)])
def test_at_least_one_unit_is_on_each_side(units, share, count):
    parts = split(Suites([replace(KEPT, items=ITEMS[:units])]), ["kept"], share)
    assert len(parts.control.all[0].items) == count


def test_text_is_split_by_blocks_in_its_own_order():
    parts = split(SUITES, ["kl"], 0.5)
    control, evaluated = parts.control.held_out_text["text"], parts.evaluation.held_out_text["text"]
    assert sorted([*blocks(control), *blocks(evaluated)]) == sorted(blocks(TEXT))
    assert control.index("paragraph") == 0
    numbers = [int(line.split()[1]) for line in control.split("\n\n")]
    assert numbers == sorted(numbers)
    assert [suite.name for suite in parts.control.all] == []


@pytest.mark.parametrize("joint", ["\n\n", "\n", " "])
def test_a_block_is_made_of_paragraphs_or_lines_or_words(joint):
    found = blocks(joint.join(["word" * 10] * 100))
    assert len(found) > 3
    assert all(len(block) >= BLOCK_CHARACTERS for block in found[:-1])


def test_few_blocks_are_chosen_evenly():
    found = blocked({"one": TEXT}, 4)
    assert len(found) == 4
    assert all(name.startswith("one, block ") for name in found)
    assert list(blocked({"one": "short"}, 4).values()) == ["short"]


def test_a_limit_needs_a_suite_and_enough_items():
    assert limit_problems(SUITES, {"kept": 20.0, "kl": 0.5}, 0.6, 0.5) == []
    (unknown,) = limit_problems(SUITES, {"none": 2.0}, 0.9)
    assert "there is no retention suite 'none'; a limit can be set for kept, other, kl" in unknown
    (few,) = limit_problems(SUITES, {"other": 1.0}, 0.95, 0.25)
    assert "with 3 control items (25% of 10, see --control-share)" in few
    (lone,) = limit_problems(Suites([replace(KEPT, items=ITEMS[:1])]), {"kept": 5.0}, 0.9)
    assert "cannot be parted" in lone
    assert limit_problems(SUITES, {"kept": 0.0}, 0.9) == [], "a limit of 0 wants gains"


def test_a_limit_of_kl_needs_text():
    (missing,) = limit_problems(Suites([KEPT]), {"kl": 0.1}, 0.9)
    assert "--held-out-text" in missing
    (short,) = limit_problems(Suites([], {"text": "short"}), {"kl": 0.1}, 0.95)
    assert "with 1 control blocks" in short
    assert "characters of control text" in short


def test_the_control_data_are_counted_for_the_user():
    kept, text = limit_words(SUITES, {"kept": 5.0, "kl": 0.1}, 0.95)
    assert kept.startswith("budget kept:5: 100 control items (or groups); a model that loses nothing needs ")
    assert f"{len(blocks(TEXT))} control blocks of text" in text
