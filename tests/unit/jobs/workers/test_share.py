"""Shares of a comparison: together all runs, none twice; numbered by hand or by SLURM."""

import pytest

from retain.errors import InputError
from retain.jobs.workers.share import share_of
from retain.recipe import Recipe, load_recipe

BASIC = {"model": "m", "train": "t", "test": "e", "output": "o"}


@pytest.mark.parametrize(("runs", "count"), [(8, 3), (3, 8), (1, 1), (12, 12)])
def test_the_shares_are_all_runs_and_none_twice(runs, count):
    shares = [share_of(f"{place}/{count}").of(range(runs)) for place in range(1, count + 1)]
    assert sorted(number for share in shares for number in share) == list(range(runs))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("task", "low", "high", "step", "count", "share"),
    [
        (1, 1, 8, 1, 8, "1/8"),
        (0, 0, 3, 1, 4, "1/4"),
        (7, 0, 7, 1, 8, "8/8"),
        (5, 1, 9, 4, 3, "2/3"),
        (6, 6, 6, 1, 1, "1/1"),
    ],
)
def test_slurm_numbers_its_tasks_from_where_it_likes(task, low, high, step, count, share):
    names = ("ID", "MIN", "MAX", "STEP", "COUNT")
    values = dict(zip(names, (task, low, high, step, count), strict=True))
    assert str(share_of("slurm", {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()})) == share


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_ARRAY_TASK_ID": "x"},
        {
            "SLURM_ARRAY_TASK_ID": "7",
            "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_MAX": "9",
            "SLURM_ARRAY_TASK_COUNT": "3",
        },
    ],
)
def test_without_an_array_or_with_gaps_in_it_slurm_is_refused(environment):
    with pytest.raises(InputError, match=r"run: slurm .*--run 1/8"):
        share_of("slurm", environment)


@pytest.mark.parametrize("stated", ["0/3", "4/3", "3", "a/b", "-1/2", "1/0", "1/2/3", ""])
def test_a_share_that_does_not_exist_is_refused_with_the_value(stated):
    with pytest.raises(InputError, match="run: expected I/N"):
        load_recipe(Recipe, None, {**BASIC, "run": stated})


def test_a_single_run_knows_nothing_of_where_the_comparison_is_done():
    recipe = Recipe(**BASIC, workers=3, run=" 2 / 4 ", ray="auto", gpus_per_run=0.5, cpus_per_run=2)
    assert recipe.run == "2/4"
    single = recipe.single()
    assert {single.workers, single.run, single.ray, single.gpus_per_run, single.cpus_per_run} == {None}
    assert recipe.runs() == Recipe(**BASIC).runs()
