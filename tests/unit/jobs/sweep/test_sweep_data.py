"""Which rows a sweep learns and which it measures on."""

import pytest

from retain.data.examples import Example
from retain.data.item_types import LabelledText
from retain.errors import InputError
from retain.jobs.sweep.sweep_data import hold_out


def test_rows_held_out_are_not_learned():
    rows = [Example(prompt=f"p{i % 20}", completion="c") for i in range(40)]  # each twice
    learn, held = hold_out(rows, 6)
    assert len(held) == 6
    assert not {item.prompt for item in held} & {item.prompt for item in learn}
    grouped = [Example(prompt=f"p{i}", completion="c", group=f"g{i // 4}") for i in range(40)]
    learn, held = hold_out(grouped, 8)
    assert not {item.group for item in held} & {item.group for item in learn}


def test_no_class_is_lost_and_a_third_at_most_is_held_out():
    rows = [LabelledText(text=f"t{i}", label="rare" if i == 0 else f"c{i % 2}") for i in range(30)]
    learn, held = hold_out(rows, 24)
    assert len(held) <= 10
    assert {item.label for item in learn} == {"rare", "c0", "c1"}


@pytest.mark.parametrize("rows", [[], [Example(prompt="a", completion="b")] * 12])
def test_too_few_rows_are_told(rows):
    with pytest.raises(InputError, match="too few, too alike"):
        hold_out(rows, 4)
