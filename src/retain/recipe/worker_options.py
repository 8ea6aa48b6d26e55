"""Fields that say where the runs of a comparison or a sweep are done. None of them changes what a run is."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from retain.recipe.marks import Decides, Flag

SLURM = "slurm"
"""The word for the share that a SLURM array gives to a task."""


class WorkerOptions(BaseModel):
    """Processes and machines that the runs of a comparison are spread over."""

    workers: Annotated[int | None, Decides("nothing"), Flag("comparison")] = Field(
        None,
        gt=0,
        description="Runs that are done at the same time, each in a process of its own; with --ray as many at most. "
        "[one after another; as many as the cluster takes]",
    )
    ray: Annotated[str | None, Decides("nothing"), Flag("comparison", "auto|ADDRESS")] = Field(
        None,
        min_length=1,
        description="Do the runs on a Ray cluster: auto for the one that this machine belongs to, its address, or "
        "local for a new one on this machine.",
    )
    cpus_per_run: Annotated[int | None, Decides("nothing"), Flag("comparison")] = Field(
        None, gt=0, description="Threads of each run. [OMP_NUM_THREADS; an equal share of the machine; on Ray 1]"
    )
    gpus_per_run: Annotated[float | None, Decides("nothing"), Flag("comparison")] = Field(
        None,
        ge=0,
        description="GPUs of each run on Ray, of which it uses one; a part, as 0.5, lets runs share one. [1 where the "
        "cluster has GPUs]",
    )
    run: Annotated[str | None, Decides("nothing"), Flag("comparison", "I/N|slurm")] = Field(
        None,
        description="Do only the I-th of N shares of the runs and write no table, as a task of a job array; slurm: as "
        "SLURM numbers it. The same command without it gathers. [all]",
    )

    @field_validator("run", mode="before")
    @classmethod
    def _share_that_exists(cls, value: Any) -> Any:
        if value in {None, SLURM}:
            return value
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", str(value))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"expected I/N with I from 1 to N, as 3/8, or {SLURM} (found {value!r})")
        return f"{int(found[1])}/{int(found[2])}"

    @model_validator(mode="after")
    def _gpus_of_a_cluster(self) -> Self:
        if self.gpus_per_run is not None and self.ray is None:
            raise ValueError(
                "gpus_per_run: it is for --ray; with --workers each worker takes one GPU of this machine in turn"
            )
        return self
