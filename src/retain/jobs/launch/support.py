"""What works under which backend: methods and regularisers, each cell tested, refused with a sentence, or untried.

The table of the documentation is made of these cells, and `check` refuses by them before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from retain.methods import table
from retain.recipe import Recipe

Backend = Literal["DDP", "FSDP2", "DeepSpeed ZeRO-2", "DeepSpeed ZeRO-3"]

State = Literal["tested", "refused", "untried"]

BACKENDS: tuple[Backend, ...] = ("DDP", "FSDP2", "DeepSpeed ZeRO-2", "DeepSpeed ZeRO-3")

ON_CPU = "trained in the tests by two processes on a processor"
SHARDED_ON_CPU = "sharded by torch's fully_shard in the tests, on a processor; Accelerate shards on accelerators only"
ON_GPU_ONLY = "needs an accelerator; not tried here"
BY_ENGINE_ALONE = "right under DeepSpeed's own engine on a processor (tests/slow); Accelerate starts it on accelerators"


SHARDED = ("vefa", "lorfa", "rotation", "sc-lora", "lora")
"""Methods that the tests shard."""

BY_ENGINE = ("vefa", "lorfa", "sc-lora", "lora")
"""Methods that the slow tests train under DeepSpeed's own engine."""


class Cell(NamedTuple):
    """One cell of the table: what is used, under which backend, how far that is known, and why."""

    what: str
    backend: Backend
    state: State
    note: str


def method_cells() -> Iterator[Cell]:
    """The cells of methods: all that `retain tune --method` names, under every backend."""
    for name in (row.name for row in table.rows()):
        for backend in BACKENDS:
            yield Cell(name, backend, *_of_method(name, backend))


def regulariser_cells() -> Iterator[Cell]:
    """The cells of regularisers, by the field of a recipe that asks for each."""
    for name in ("kl_weight", "kl_monitor", "ewc", "replay", "update_limit"):
        for backend in BACKENDS:
            if reason := _against(name, backend):
                yield Cell(name, backend, "refused", reason)
            elif name == "replay" and backend != "DDP":
                yield Cell(name, backend, "untried", ON_GPU_ONLY)
            else:
                yield Cell(name, backend, "tested", ON_CPU if backend == "DDP" else SHARDED_ON_CPU)


def refusals(recipe: Recipe, backend: Backend) -> list[str]:
    """A sentence for each part of a recipe that a backend cannot have; known before anything is loaded."""
    asked = [name for name in ("kl_weight", "kl_monitor", "ewc", "update_limit") if getattr(recipe, name)]
    found = [f"launch: {reason}" for name in asked if (reason := _against(name, backend))]
    in_step = [
        ("--feature-weight", recipe.feature_weight),
        ("--kl-on batch", recipe.kl_weight and recipe.kl_on == "batch"),
    ]
    if backend != "DDP":
        found += [f"launch: {flag}: {_IN_STEP.format(backend)}" for flag, given in in_step if given]
    return found


_IN_STEP = "compares with the base within a step, which {} has in pieces; use DDP, or --kl-weight on text to keep."


def _of_method(name: str, backend: Backend) -> tuple[State, str]:
    if backend == "DDP":
        return "tested", ON_CPU
    if backend == "FSDP2" and name in SHARDED:
        return "tested", SHARDED_ON_CPU
    if backend != "FSDP2" and name in BY_ENGINE:
        return "untried", BY_ENGINE_ALONE
    return "untried", ON_GPU_ONLY


def _against(regulariser: str, backend: Backend) -> str:
    """The reason against a regulariser under a backend; empty where there is none."""
    if backend == "DDP" or regulariser == "replay":
        return ""
    if regulariser == "update_limit":
        return (
            f"the update limit reads the weights of whole layers, which {backend} has in pieces; leave --update-limit "
            "out and hold the update afterwards (--budget), or use --kl-weight with FSDP2, or DDP."
        )
    if regulariser == "ewc":
        return (
            f"EWC reads the weights of whole layers, which {backend} has in pieces; leave --ewc out and use "
            "--kl-weight with FSDP2, or DDP."
        )
    if backend == "FSDP2":
        return ""
    what = "the KL penalty" if regulariser == "kl_weight" else "the KL monitor"
    return (
        f"{what} runs the model outside the step of {backend}'s engine; use FSDP2 or DDP, or leave it out, add "
        "--replay, and let --budget scale the update back."
    )
