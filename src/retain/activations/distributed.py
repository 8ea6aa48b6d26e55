"""Sums of several processes, each over its own share of the data, added up; with one process nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from retain.activations import moments as sums
from retain.activations.capture import Capture, SharingChangedError
from retain.activations.sequences import Sequences
from retain.activations.store import HASHES

Value = TypeVar("Value")


def processes() -> int:
    """The number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def wait() -> None:
    """Wait until all processes are here."""
    if processes() > 1:
        dist.barrier()


def gathered(value: Value) -> list[Value]:
    """The values of all processes, in the order of ranks."""
    found: list[Value | None] = [None] * processes()
    if processes() == 1:
        return [value]
    dist.all_gather_object(found, value)
    return [value for value in found if value is not None]


def of_first(value: Tensor) -> Tensor:
    """A tensor as the first process has it, for what rounding could decide otherwise in another; equal in shape."""
    if processes() > 1:
        dist.broadcast(value, 0)
    return value


def anywhere(happened: bool) -> bool:
    """True if something happened in any of the processes."""
    return any(gathered(happened))


def reduce_capture(capture: Capture, device: torch.device) -> None:
    """Replace the sums of one process by those of all, of layers that ran elsewhere too.

    Raises:
        SharingChangedError: in all processes, where two layers read one tensor in some of them only.
    """
    if processes() == 1:
        return
    everywhere = gathered(capture.leader)
    for leaders in everywhere:
        for key, leader in leaders.items():
            if any(other.get(key, None if leader in other else leader) != leader for other in everywhere):
                raise SharingChangedError
    sizes = {key: len(held.total) for key, held in capture.moments.items()}
    for leaders in everywhere:
        capture.leader |= leaders
    for notes in gathered(capture.notes):
        capture.notes |= notes
    everybodys: dict[str, int] = {}
    for theirs in gathered(sizes):
        everybodys |= theirs
    for key, size in everybodys.items():
        held = capture.moments.setdefault(key, sums.empty(size, capture.dtype, device))
        dist.all_reduce(held.gram)
        dist.all_reduce(held.total)
        numbers = torch.tensor([held.weight, float(held.tokens)], dtype=torch.float64, device=device)
        dist.all_reduce(numbers)
        energy = torch.tensor(held.energy, dtype=torch.float64, device=device)
        dist.all_reduce(energy, dist.ReduceOp.MAX)
        held.weight, held.tokens, held.energy = float(numbers[0]), int(numbers[1]), float(energy)


def reduce_sequences(own: Sequences) -> Sequences:
    """The sequences of all processes."""
    everybodys = gathered(own)
    return Sequences(
        sum(part.total for part in everybodys) % HASHES, [short for part in everybodys for short in part.hashes]
    )


def shared_out(names: Iterable[str], solve: Callable[[str], dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Do one piece of work per name, each in one process, and give all results to all processes.

    Args:
        names: the same, in the same order, in every process.
        solve: from a name to tensors.
    """
    everything = list(names)
    own = {name: solve(name) for name in everything[rank() :: processes()]}
    if processes() == 1:
        return own
    found: dict[str, dict[str, Tensor]] = {}
    for theirs in gathered({key: {k: v.cpu() for k, v in value.items()} for key, value in own.items()}):
        found |= theirs
    return {name: found[name] for name in everything}
