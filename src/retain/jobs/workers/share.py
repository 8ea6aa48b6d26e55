"""The share of the runs that one task of a job array does: `--run 3/8`, or as SLURM numbers it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retain.errors import InputError
from retain.recipe.worker_options import SLURM


@dataclass(frozen=True)
class Share:
    """The place-th of so many shares, from 1.

    Attributes:
        place: which one.
        count: how many there are.
        is_all: whether no share was asked for.
    """

    place: int = 1
    count: int = 1
    is_all: bool = True

    def of(self, numbers: Sequence[int]) -> list[int]:
        """Every count-th number, so that the shares have as many and are alike in methods."""
        return list(numbers)[self.place - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.place}/{self.count}"


def share_of(stated: str | None, environment: Mapping[str, str] = os.environ) -> Share:
    """The share that a recipe states.

    Args:
        stated: I/N, "slurm", or None for all.
        environment: the variables that SLURM sets.

    Raises:
        InputError: this process is no task of a SLURM array.

    Examples:
        >>> share_of("2/3").of(range(8))
        [1, 4, 7]
        >>> slurm = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3"}
        >>> str(share_of("slurm", slurm))
        '1/4'
    """
    if stated is None:
        return Share()
    if stated != SLURM:
        place, _, of = stated.partition("/")
        return Share(int(place), int(of), is_all=False)
    try:
        task = int(environment["SLURM_ARRAY_TASK_ID"])
        first, last = (int(environment.get(f"SLURM_ARRAY_TASK_{end}", task)) for end in ("MIN", "MAX"))
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
    except (KeyError, ValueError) as error:
        raise InputError(
            "run: slurm counts on SLURM_ARRAY_TASK_ID and its like, which are not set here: start it as a task of a "
            "job array (sbatch --array=1-8), or give a share as --run 1/8."
        ) from error
    tasks, listed = (last - first) // step + 1, int(environment.get("SLURM_ARRAY_TASK_COUNT", 0))
    if (task - first) % step or listed not in {0, tasks}:
        raise InputError(
            f"run: slurm needs an array without gaps, as --array=1-8; this one has {listed or 'other'} tasks from "
            f"{first} to {last}. Number the tasks without gaps, or give each its share as --run 1/8."
        )
    return Share((task - first) // step + 1, tasks, is_all=False)
