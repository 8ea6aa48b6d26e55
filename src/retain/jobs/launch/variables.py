"""Variables by which a launcher tells its processes their rank and number. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

OF_LAUNCHERS = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT",
    "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS",
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE",
)  # fmt: skip
"""Variables that Accelerate reads. Any one of them makes it wait for a group of processes. A command of retain is one
process, and belongs to none."""


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which no launcher left its variables."""
    return {name: value for name, value in environment.items() if name not in OF_LAUNCHERS}
