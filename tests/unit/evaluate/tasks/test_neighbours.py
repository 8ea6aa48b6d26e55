"""Neighbours against votes counted one item at a time."""

from by_hand import LETTERS, TEXTS, by_hand_features, predict, scores

from retain.data.item_types import LabelledText
from retain.evaluate.suites.suite import Suite
from retain.evaluate.tasks.neighbours import NeighboursTask


def test_neighbours_by_hand(judge):
    bank = [
        LabelledText(text=f"{a} {'b' if i % 2 else 'c'} d", label=("odd" if i % 2 else "even"))
        for i, a in enumerate(LETTERS[:10])
    ]
    items = [
        LabelledText(text=f"{a} {'b' if i % 2 else 'c'}", label=("odd" if i % 2 else "even"))
        for i, a in enumerate(LETTERS[10:18])
    ]
    suite = Suite("near", "neighbours", "keep", items, bank=bank, options={"k": 3})
    found = [score["accuracy"] for score in scores(suite, predict(judge, TEXTS, suite))]
    known, asked = (by_hand_features(judge, [item.text for item in part]) for part in (bank, items))
    for item, query, right in zip(items, asked, found, strict=True):
        nearest = (known @ query).argsort(descending=True)[:3]
        votes = sum(bank[place].label == "odd" for place in nearest)
        assert right == float((votes >= 2) == (item.label == "odd"))


def test_more_neighbours_than_the_bank_holds_are_a_problem():
    items = [LabelledText(text=text, label=text) for text in "ab"]
    few = Suite("few", "neighbours", "keep", items, bank=items)
    (problem,) = NeighboursTask().bank_problems(few)
    assert problem.startswith("few: 5 nearest neighbours vote, but its bank holds 2 items; give")
    enough = Suite("few", "neighbours", "keep", items, bank=items, options={"k": 2})
    assert NeighboursTask().bank_problems(enough) == []
    assert NeighboursTask().needs_bank
