"""Sequences of tasks: matrices worked by hand, intervals against a plain resampling of items."""

from __future__ import annotations

import numpy as np
import pytest

from retain.errors import InputError
from retain.stats.bootstrap import right_wrong_interval
from retain.stats.continual import (
    accuracy_matrix,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    intervals,
)

HAND = np.array(
    [
        [0.9, 0.1, 0.3],  # base
        [0.8, 0.2, 0.3],  # after task 1
        [0.7, 0.9, 0.4],  # after task 2
        [0.5, 0.6, 0.95],  # after task 3
    ]
)


def seeded(seed=0):
    return np.random.default_rng(seed)


def test_the_four_figures_by_hand():
    assert average_accuracy(HAND) == pytest.approx((0.5 + 0.6 + 0.95) / 3)
    assert backward_transfer(HAND) == pytest.approx(((0.5 - 0.8) + (0.6 - 0.9)) / 2)
    assert forgetting(HAND) == pytest.approx(((0.8 - 0.5) + (0.9 - 0.6)) / 2)
    assert forgetting(HAND, include_base=True) == pytest.approx(((0.9 - 0.5) + (0.9 - 0.6)) / 2)
    assert forward_transfer(HAND) == pytest.approx(((0.2 - 0.1) + (0.4 - 0.3)) / 2)


def test_the_best_row_may_lie_before_the_task_was_trained_and_never_is_the_last():
    R = np.array([[0.0, 0.0, 0.0], [0.5, 0.9, 0.0], [0.6, 0.4, 0.0], [0.7, 0.5, 1.0]])
    # Task 1: best of .5 and .6, minus .7 = −.1. Task 2: best of .9 and .4, minus .5 = .4.
    assert forgetting(R) == pytest.approx((-0.1 + 0.4) / 2)


def test_one_task_has_an_average_only():
    R = np.array([[0.2], [0.8]])
    assert average_accuracy(R) == 0.8
    assert backward_transfer(R) is forgetting(R) is forward_transfer(R) is None
    found = intervals([np.array([[0, 1, 0], [1, 1, 0]])], seeded())
    assert found.backward is found.forgetting is found.forward is None
    assert found.average[0] < 2 / 3 < found.average[1]


def items(seed=3, sizes=(90, 120, 150)):
    """Right and wrong after each stage: an item stays as it was with probability .7."""
    rng, tasks = seeded(seed), []
    for j, n in enumerate(sizes):
        rows = [rng.random(n) < 0.4]
        for stage in range(1, len(sizes) + 1):
            fresh = rng.random(n) < (0.9 if stage == j + 1 else 0.55)
            rows.append(np.where(rng.random(n) < (0.1 if stage == j + 1 else 0.7), rows[-1], fresh))
        tasks.append(np.stack(rows))
    return tasks


def test_the_matrix_is_that_of_the_means():
    tasks = items()
    R = accuracy_matrix(tasks)
    assert R.shape == (4, 3)
    assert R[2, 1] == pytest.approx(tasks[1][2].sum() / 120)


def test_intervals_are_those_of_resampled_items():
    tasks, rng = items(), seeded(11)
    figures = {"average": average_accuracy, "backward": backward_transfer, "forward": forward_transfer}
    figures["forgetting"] = forgetting
    samples = {name: [] for name in figures}
    for _ in range(3000):
        R = np.stack([task[:, rng.integers(task.shape[1], size=task.shape[1])].mean(axis=1) for task in tasks], axis=1)
        for name, figure in figures.items():
            samples[name].append(figure(R))
    found = intervals(tasks, seeded())
    R = accuracy_matrix(tasks)
    for name, figure in figures.items():
        low, high = getattr(found, name)
        assert (low, high) == pytest.approx(tuple(np.quantile(samples[name], (0.024, 0.976))), abs=0.012)
        assert low < figure(R) < high


def test_one_earlier_task_has_the_interval_of_its_change():
    tasks = items(sizes=(100, 100))
    found = intervals(tasks, seeded())
    lost, gained = int((tasks[0][1] & ~tasks[0][2]).sum()), int((~tasks[0][1] & tasks[0][2]).sum())
    assert found.backward == pytest.approx(right_wrong_interval(lost, gained, 100, seeded(5)), abs=0.011)
    assert found.forgetting == pytest.approx((-found.backward[1], -found.backward[0]), abs=0.02)


def test_nothing_forgotten_still_has_a_width():
    task = np.ones((3, 40), dtype=bool)
    found = intervals([task, task], seeded(), include_base=True)
    for low, high in found:
        assert low < high
    assert found.forgetting[0] == pytest.approx(-found.forgetting[1])


def test_what_is_incomplete_is_refused():
    with pytest.raises(ValueError, match="base in row 0"):
        average_accuracy(HAND[1:])
    broken = HAND.copy()
    broken[1, 2] = np.nan
    with pytest.raises(ValueError, match="a score is missing"):
        forgetting(broken)
    with pytest.raises(ValueError, match=r"task 2 of 2: \(3, items\) expected"):
        accuracy_matrix([np.ones((3, 4)), np.ones((2, 4))])
    with pytest.raises(InputError, match="no test items"):
        accuracy_matrix([np.ones((2, 0))])
    with pytest.raises(ValueError, match="base in row 0"):
        accuracy_matrix([])
