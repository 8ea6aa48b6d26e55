"""Numbers of several processes that train together; with one process nothing happens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """The rank of this process and the number of processes in data-parallel training; (0, 1) for one alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(values: Sequence[float]) -> list[float]:
    """The sums of numbers over all processes; each gets the same."""
    if rank_and_world()[1] == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=_device())
    dist.all_reduce(total)
    return total.tolist()


def mean_over_ranks(value: float) -> float:
    """The mean of a number over all processes; each gets the same."""
    world = rank_and_world()[1]
    return value if world == 1 else sum_over_ranks([value])[0] / world


def anywhere(happened: bool) -> bool:
    """True in all processes if something happened in any of them."""
    return bool(sum_over_ranks([float(happened)])[0])


def wait_for_all() -> None:
    """Wait until all processes are here."""
    if rank_and_world()[1] > 1:
        dist.barrier()


def _device() -> torch.device:
    """The device on which the processes exchange numbers."""
    found = torch.accelerator.current_accelerator() if dist.get_backend() not in {"gloo", "mpi"} else None
    return torch.device("cpu") if found is None else found
