"""Commands that a launcher starts several times: found in the environment, so that one process speaks for all.

`torchrun`, `accelerate launch`, `srun` and `mpirun` tell each process its rank and their number in the environment.
`retain` is one process that starts its own (`--launch.processes`): several that write into one folder would ruin it.
No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from retain.jobs.launch.variables import OF_LAUNCHERS

OWN_OUTPUTS = ("--output", "--run")
"""Flags whose value tells the output of one process from those of the others."""


@dataclass(frozen=True)
class Started:
    """A process that a launcher started beside others.

    Attributes:
        by: the launcher.
        rank: of this process, from 0.
        processes: how many there are.
    """

    by: str
    rank: int
    processes: int


LAUNCHERS = (
    ("torchrun or accelerate launch", "RANK", "WORLD_SIZE"),
    ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("mpirun", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("mpirun", "PMI_RANK", "PMI_SIZE"),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
"""Launchers, each with the variables of a process's rank and of their number. A batch script of SLURM, which is no step
of `srun`, has no `SLURM_STEP_NUM_TASKS`."""

ONE_OUTPUT_EACH = {"mpirun", "srun"}
"""Launchers that also start commands that have nothing to do with one another, each with an output of its own."""


def started(environment: Mapping[str, str]) -> Started | None:
    """The launcher that started this process beside others, or None.

    Args:
        environment: `os.environ`.
    """
    for by, rank, processes in LAUNCHERS:
        if by == "srun" and environment.get("SLURM_PTY_PORT"):
            continue  # a shell on a terminal (srun --pty), which stands in the first process alone
        found = [environment.get(name, "") for name in (rank, processes)]
        if all(value.isdecimal() for value in found) and int(found[1]) > 1:
            return Started(by, int(found[0]), int(found[1]))
    return None


def refusal(verb: str, words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The reason why this process must not go on: it is one of several at one thing. Empty where another one says it.

    Args:
        verb: of the command.
        words: what follows it.
        environment: `os.environ`.

    Returns:
        None where it may go on.
    """
    found = started(environment)
    if found is None or (found.by in ONE_OUTPUT_EACH and _has_own_output(words, found.rank)):
        return None
    if "LOCAL_RANK" not in environment and any(word.startswith("--launch.machine_rank") for word in words):
        return None  # a pod of a cluster, which names itself; the processes are started by this command
    if found.rank:
        return ""
    instead = (
        "start it once, without it, and say --launch.processes N: retain starts its own processes"
        if verb in {"tune", "compare", "check"}
        else "start it once, without it"
    )
    also = (
        "; for runs that have nothing to do with one another give each an --output with its rank in it"
        if found.by in ONE_OUTPUT_EACH
        else ""
    )
    return (
        f"{found.by} started this command {found.processes} times, and all of them would do the same and write the "
        f"same files. Nothing was done: {instead}{also}."
    )


def forget_launcher(environment: MutableMapping[str, str]) -> None:
    """Take away what a launcher, or a user's shell, says of a group of processes: this command is one process.

    Accelerate would wait for the others, or train with what other commands train.

    Args:
        environment: `os.environ`.
    """
    for name in OF_LAUNCHERS:
        environment.pop(name, None)


def _has_own_output(words: Sequence[str], rank: int) -> bool:
    """True if the rank stands in the value of a flag that names the output, or in the recipe's name.

    The shares of a comparison count from 1, so that of a rank may be the next number.
    """
    joined = [*words, ""]
    named = {
        flag: [word.split("=", 1)[1] for word in words if word.startswith(f"{flag}=")]
        + [after for word, after in pairwise(joined) if word == flag]
        for flag in OWN_OUTPUTS
    }
    outputs = named["--output"] + [word for word in words[:1] if not word.startswith("-")]
    shares = (value.partition("/")[0].strip() for value in named["--run"])
    return any(re.search(rf"(?<!\d){rank}(?!\d)", value) for value in outputs) or any(
        share in {str(rank), str(rank + 1)} for share in shares
    )
