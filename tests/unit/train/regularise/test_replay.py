import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.errors import InputError
from retain.train.regularise.replay import Mixed, mix_replay

TASK = [f"task{i}" for i in range(30)]
KEEP = [f"keep{i}" for i in range(7)]


@given(task=st.integers(1, 60), keep=st.integers(1, 40), ratio=st.floats(0, 0.95), seed=st.integers(0, 5))
def test_share_spread_and_completeness(task, keep, ratio, seed):
    mixed = mix_replay([("task", i) for i in range(task)], [("keep", i) for i in range(keep)], ratio, seed)
    rows = [mixed[i] for i in range(len(mixed))]
    assert [row for row in rows if row[0] == "task"] == [("task", i) for i in range(task)]
    kept = [i for kind, i in rows if kind == "keep"]
    for n in range(len(rows) + 1):
        assert abs(sum(kind == "keep" for kind, _ in rows[:n]) - n * ratio) <= 1 + 1e-9
    for start in range(0, len(kept) - keep + 1, keep):
        assert sorted(kept[start : start + keep]) == list(range(keep))
    assert len(set(kept)) == min(len(kept), keep)


def test_it_is_determined_by_the_seed():
    def rows(seed):
        mixed = mix_replay(TASK, KEEP, 0.4, seed)
        return [mixed[i] for i in range(len(mixed))]

    assert rows(1) == rows(1) != rows(2)


def test_rows_are_passed_on_untouched():
    task, keep = [{"input_ids": [1]}], [object()]
    mixed = mix_replay(task, keep, 0.5)
    assert isinstance(mixed, Mixed)
    assert {id(mixed[0]), id(mixed[1])} == {id(task[0]), id(keep[0])}


def test_tables_give_a_table_in_the_same_order():
    tables = [datasets.Dataset.from_dict({"text": rows}) for rows in (TASK, KEEP)]
    mixed = mix_replay(*tables, 0.25, 3)
    plain = mix_replay(TASK, KEEP, 0.25, 3)
    assert isinstance(mixed, datasets.Dataset)
    assert mixed["text"][:] == [plain[i] for i in range(len(plain))]
    assert len(mixed) == 40


def test_columns_must_match():
    task = datasets.Dataset.from_dict({"text": TASK})
    with pytest.raises(InputError, match="rename or remove columns"):
        mix_replay(task, datasets.Dataset.from_dict({"passage": KEEP}), 0.1)
    with pytest.raises(InputError, match="column 'text' holds"):
        mix_replay(task, datasets.Dataset.from_dict({"text": [1, 2]}), 0.1)


def test_every_problem_is_named():
    with pytest.raises(InputError) as caught:
        mix_replay([], KEEP, 1.0)
    assert len(caught.value.problems) == 2
