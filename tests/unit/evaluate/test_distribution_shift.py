"""Shifts of a record: by hand from the items, and against scikit-learn's accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from retain.evaluate.distribution_shift import measured_shifts
from retain.evaluate.scores.shift import style_gap_change_interval
from retain.records.items import Item, Side
from retain.records.result import SuiteFacts

CLASSES = ("food", "animals", "flags")


def item(suite, part, index, base, tuned, **more):
    right = CLASSES[index % 3]
    said = [right if hit else CLASSES[(index + 1) % 3] for hit in (base, tuned)]
    sides = [Side(answer=answer, scores={"accuracy": float(answer == right)}) for answer in said]
    return Item(part=part, suite=suite, index=index, question="", expected=right, base=sides[0], tuned=sides[1], **more)


def facts(name, part="keep", kind="labels"):
    return SuiteFacts(name=name, task_type=kind, part=part)


def corrupted(pictures, seed=0, kinds=("fog", "contrast"), severities=(1, 3)):
    drawn = np.random.default_rng(seed)
    cells = [(p, kind, severity) for p in range(pictures) for kind in kinds for severity in severities]
    return [
        item(
            "corrupted",
            "keep",
            p,
            drawn.random() < 0.6,
            drawn.random() < 0.4,
            group=f"p{p}",
            condition=f"{kind}/{step}",
        )
        for p, kind, step in cells
    ]


def wrong(items, side, kind=""):
    return sum(1 - getattr(i, side).scores["accuracy"] for i in items if (i.condition or "").startswith(kind))


def test_the_corruption_error_is_the_mean_over_kinds_of_errors_after_over_errors_before():
    items = corrupted(60)
    (found,) = measured_shifts(items, [facts("corrupted")], 0)
    by_hand = {kind: wrong(items, "tuned", kind) / wrong(items, "base", kind) for kind in ("fog", "contrast")}
    assert found.by_kind == pytest.approx(by_hand)
    assert found.value == pytest.approx(np.mean(list(by_hand.values())))
    assert (found.n, found.units) == (240, 60)
    assert found.base == pytest.approx(wrong(items, "base") / 240)
    assert 1 < found.interval[0] < found.value < found.interval[1]


def test_the_interval_resamples_whole_pictures():
    """Against a bootstrap of its own: images drawn with all their corruptions, percentiles of the mean ratio."""
    items = corrupted(60)
    (found,) = measured_shifts(items, [facts("corrupted")], 0)
    errors = np.zeros((2, 2, 60))
    for one in items:
        for side, scores in enumerate((one.base.scores, one.tuned.scores)):
            errors[side, one.condition.startswith("fog") * 1, int(one.group[1:])] += 1 - scores["accuracy"]
    draws = np.random.default_rng(9).integers(60, size=(8000, 60))
    sums = errors[:, :, draws].sum(axis=-1)
    low, high = np.quantile((sums[1] / sums[0]).mean(axis=0), (0.025, 0.975))
    assert found.interval == pytest.approx((low, high), abs=0.05)


def test_what_was_not_asked_of_a_picture_counts_for_nothing():
    items = [one for one in corrupted(60) if not (one.group == "p7" and one.condition == "fog/3")]
    (found,) = measured_shifts(items, [facts("corrupted")], 0)
    assert found.by_kind["fog"] == pytest.approx(wrong(items, "tuned", "fog") / wrong(items, "base", "fog"))
    assert found.n == 239


def test_few_changed_pictures_have_no_interval_and_a_base_without_errors_no_figure():
    (few,) = measured_shifts(corrupted(8), [facts("corrupted")], 0)
    assert few.value is not None
    assert few.interval is None
    assert "too few for an interval" in few.note
    perfect = [
        item("corrupted", "keep", p, base=True, tuned=p > 3, group=f"p{p}", condition="fog/1") for p in range(30)
    ]
    (found,) = measured_shifts(perfect, [facts("corrupted")], 0)
    assert (found.value, found.interval, found.by_kind) == (None, None, {"fog": None})
    assert "no error under fog" in found.note


def styled(name, part, n, seed, grouped=False):
    drawn = np.random.default_rng(seed)
    return [
        item(name, part, k, drawn.random() < 0.6, drawn.random() < 0.8, group=f"g{k // 2}" if grouped else None)
        for k in range(n)
    ]


@pytest.mark.parametrize("grouped", [False, True])
def test_the_style_gap_is_a_difference_of_accuracies(grouped):
    usual, other = styled("google", "task", 90, 1), styled("twitter", "keep", 120, 2, grouped)
    (found,) = measured_shifts([*usual, *other], [facts("google", "task"), facts("twitter")], 0)
    accuracy = {
        (part[0].suite, side): accuracy_score([i.expected for i in part], [getattr(i, side).answer for i in part])
        for part in (usual, other)
        for side in ("base", "tuned")
    }
    gaps = [accuracy["google", side] - accuracy["twitter", side] for side in ("base", "tuned")]
    assert (found.base, found.tuned, found.value) == pytest.approx((*gaps, gaps[1] - gaps[0]))
    assert (found.measure, found.against, found.units) == ("style gap", "google", 60 if grouped else 120)
    right = [
        tuple(np.array([getattr(i, side).scores["accuracy"] == 1 for i in part]) for side in ("base", "tuned"))
        for part in (usual, other)
    ]
    alone = style_gap_change_interval(*right, np.random.default_rng(0))
    if grouped:
        assert found.interval[0] < found.value < found.interval[1]
        assert found.interval != alone
    else:
        assert found.interval == alone


def test_groups_of_equal_items_widen_the_interval():
    """Each answer given twice is no more knowledge: the interval is about that of the items once."""
    usual, once = styled("google", "task", 200, 1), styled("twitter", "keep", 100, 2)
    twice = [one.model_copy(update={"group": str(k), "index": 2 * k + j}) for k, one in enumerate(once) for j in (0, 1)]
    suites = [facts("google", "task"), facts("twitter")]
    single, double = (measured_shifts([*usual, *other], suites, 0)[0] for other in (once, twice))
    assert double.value == pytest.approx(single.value)
    assert np.diff(double.interval) == pytest.approx(np.diff(single.interval), rel=0.15)


@pytest.mark.parametrize(
    ("kind", "classes", "condition"),
    [("neighbours", CLASSES, None), ("labels", ("food", "animals"), None), ("labels", CLASSES, "fog/3")],
)
def test_other_kinds_classes_and_corrupted_pictures_have_no_style_gap(kind, classes, condition):
    usual = styled("google", "task", 60, 1)
    other = [one.model_copy(update={"condition": condition}) for one in styled("twitter", "keep", 60, 2)]
    other = [one for one in other if one.expected in classes]
    found = measured_shifts([*usual, *other], [facts("google", "task"), facts("twitter", kind=kind)], 0)
    assert [one.measure for one in found] == (["corruption error"] if condition else [])


def test_a_condition_that_only_looks_like_a_corruption_is_none():
    items = [item("trivia", "keep", k, base=True, tuned=False, condition=f"chapter/{1 + k % 3}") for k in range(30)]
    assert measured_shifts(items, [facts("trivia")], 0) == []
