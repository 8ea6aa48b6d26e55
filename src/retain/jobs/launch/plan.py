"""The processes of a training: how many, on which machines, and by which backend; read from a recipe."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from retain.errors import InputError
from retain.jobs.launch.support import Backend, refusals
from retain.recipe import Recipe
from retain.records.reading import read_json_mapping, read_yaml
from retain.train.arguments import unused_devices

DATA_PARALLEL = (
    "MULTI_GPU",
    "MULTI_CPU",
    "MULTI_XPU",
    "MULTI_NPU",
    "MULTI_MLU",
    "MULTI_MUSA",
    "MULTI_HPU",
    "MULTI_SDAA",
)
"""Types of Accelerate's file that train by DistributedDataParallel."""

PROCESSES_PER_PROCESSOR = 4
"""Processes that may share a processor: more than one is of use only to try things out."""

STANDARD = "standard"
"""The launcher of DeepSpeed on several machines that starts nothing by ssh."""


@dataclass(frozen=True)
class Plan:
    """The processes of a training.

    Attributes:
        processes: of all machines together.
        machines: how many.
        machine_rank: of this machine, from 0.
        backend: how the processes train together.
        use_cpu: whether they train on processors.
        config: Accelerate's file; None for processes of this machine alone.
    """

    processes: int = 1
    machines: int = 1
    machine_rank: int = 0
    backend: Backend = "DDP"
    use_cpu: bool = False
    config: Path | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> Plan:
        """The plan of a recipe.

        Raises:
            InputError: with every reason why the processes cannot be started as asked.
        """
        use_cpu = not torch.accelerator.is_available() or recipe.training.get("use_cpu") is True
        launch = recipe.launch
        plan = cls(int(launch.get("processes", 1)), use_cpu=use_cpu)
        problems: list[str] = []
        if "config" in launch:
            path = Path(launch["config"]).expanduser()
            plan, problems = _of_file(path, _read(path), launch.get("machine_rank"), use_cpu=use_cpu)
            problems += _precision_problems(path, _read(path), recipe)
        problems += _device_problems(plan)
        if problems:
            raise InputError([f"launch: {problem}" for problem in problems])
        return plan

    @property
    def processes_here(self) -> int:
        """The processes of one machine."""
        return self.processes // self.machines

    @property
    def is_single(self) -> bool:
        """True if there is one process and nothing to be launched."""
        return self.processes == 1 and self.config is None

    def facts(self, recipe: Recipe) -> dict[str, Any]:
        """The plan as it stands in the record: process and device counts, the global batch, the backend."""
        accumulated = int(recipe.training.get("gradient_accumulation_steps") or 1)
        found: dict[str, Any] = {
            "processes": self.processes,
            "devices": 1 if self.use_cpu else self.processes,
            "global_batch_size": self.processes * recipe.batch_size * accumulated,
        }
        return found if self.is_single else found | {"machines": self.machines, "backend": self.backend}

    def identity(self) -> dict[str, Any]:
        """All of the plan that decides what is trained; nothing for one process."""
        return {} if self.is_single else {"processes": self.processes, "backend": self.backend}


def launch_problems(recipe: Recipe) -> list[str]:
    """Reasons why a recipe cannot be trained in the processes that it asks for; none where it asks for one."""
    if not recipe.is_launched:
        return []
    try:
        plan = Plan.of(recipe)
    except InputError as error:
        return list(error.problems)
    problems = refusals(recipe, plan.backend)
    if recipe.device_map is not None and plan.processes > 1:
        problems.append(
            "launch: with a device map each process would spread the base over all devices; leave --device-map out "
            "(each process then holds the base on a device of its own), or train in one process."
        )
    if plan.machines > 1 and len(recipe.runs()) > 1:
        problems.append("launch: a comparison runs on one machine; train each of its runs with retain tune.")
    return problems


def launch_told(recipe: Recipe) -> list[str]:
    """Sentences on the processes of a recipe's training, and on devices that it leaves idle."""
    plan = Plan.of(recipe)
    idle = unused_devices(plan.processes_here) if recipe.device_map is None else None
    if plan.is_single:
        return [idle] if idle else []
    facts = plan.facts(recipe)
    where = "" if plan.machines == 1 else f" on {plan.machines} machines"
    rows = facts["global_batch_size"]
    told = f"trained in {plan.processes} processes{where} ({plan.backend}), {rows} rows a step in all"
    return [told, *([idle] if idle else [])]


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_json_mapping(path) if path.suffix == ".json" else read_yaml(path)
    except InputError as error:
        raise InputError(f"launch: config: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"launch: config: {path} is no file of `accelerate config`: it holds no fields.")
    return values


def _of_file(path: Path, values: dict[str, Any], machine_rank: int | None, *, use_cpu: bool) -> tuple[Plan, list[str]]:
    """The plan of an Accelerate file, and the reasons against it."""
    problems: list[str] = []

    def number(name: str, low: int, default: int) -> int:
        found = values.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int) or found < low:
            problems.append(f"{path}: {name} must be a whole number of {low} or more (found {found!r}).")
            return default
        return found

    processes, machines = number("num_processes", 1, 1), number("num_machines", 1, 1)
    rank = number("machine_rank", 0, 0) if machine_rank is None else machine_rank
    backend, refused = _backend(path, values, machines)
    problems += refused
    if processes % machines:
        problems.append(f"{path}: {processes} processes cannot be shared out over {machines} machines evenly.")
    if rank >= machines:
        problems.append(f"machine_rank {rank}: {path} counts {machines} machines, from 0 to {machines - 1}.")
    if machines > 1 and not (values.get("main_process_ip") and values.get("main_process_port")):
        problems.append(f"{path}: several machines need main_process_ip and main_process_port, those of machine 0.")
    plan = Plan(processes, machines, rank, backend, use_cpu or values.get("use_cpu") is True, path)
    return plan, problems


def _backend(path: Path, values: dict[str, Any], machines: int) -> tuple[Backend, list[str]]:
    """The backend that an Accelerate file names, and the reasons against it."""
    kind = str(values.get("distributed_type", "")).upper()
    if str(values.get("compute_environment", "LOCAL_MACHINE")) != "LOCAL_MACHINE":
        return "DDP", [f"{path}: only machines of your own can be used, no {values['compute_environment']}."]
    if any(
        int(size or 1) > 1
        for name, size in (values.get("parallelism_config") or {}).items()
        if name.endswith(("tp_size", "cp_size", "sp_size"))
    ):
        return "DDP", [f"{path}: tensor, context and sequence parallelism are not supported; use FSDP2 to save memory."]
    if kind == "FSDP":
        version = int((values.get("fsdp_config") or {}).get("fsdp_version", 1))
        old = [f"{path}: FSDP of version 1 is not supported; say fsdp_version: 2 under fsdp_config."]
        return "FSDP2", [] if version == 2 else old
    if kind == "DEEPSPEED":
        return _deepspeed(path, values.get("deepspeed_config") or {}, machines)
    if kind in {*DATA_PARALLEL, "NO"}:
        return "DDP", []
    return "DDP", [
        f"{path}: distributed_type {kind or 'is missing'}: known are {', '.join(DATA_PARALLEL[:2])}, FSDP, DEEPSPEED."
    ]


def _deepspeed(path: Path, values: dict[str, Any], machines: int) -> tuple[Backend, list[str]]:
    problems = []
    if importlib.util.find_spec("deepspeed") is None:
        problems.append(f"{path}: DeepSpeed is not installed; install deepspeed, or use distributed_type FSDP.")
    if machines > 1 and values.get("deepspeed_multinode_launcher") != STANDARD:
        problems.append(
            f"{path}: say deepspeed_multinode_launcher: {STANDARD}, and start the same command on each machine with "
            "its --launch.machine_rank; retain starts nothing by ssh."
        )
    named = values.get("deepspeed_config_file")
    stage = _stage_of(Path(named).expanduser(), problems) if named else int(values.get("zero_stage", 2))
    return ("DeepSpeed ZeRO-3" if stage == 3 else "DeepSpeed ZeRO-2"), problems


def _stage_of(path: Path, problems: list[str]) -> int:
    try:
        return int((read_json_mapping(path).get("zero_optimization") or {}).get("stage", 0))
    except (InputError, TypeError, ValueError) as error:
        problems.append(f"deepspeed_config_file: {error}")
        return 2


def _precision_problems(path: Path, values: dict[str, Any], recipe: Recipe) -> list[str]:
    """A sentence where file and recipe say another mixed precision: the recipe decides it."""
    theirs = str(values.get("mixed_precision") or "no").lower()
    own = next((name for name in ("bf16", "fp16") if recipe.training.get(name) is True), "no")
    if theirs in {"no", own}:
        return []
    say = (
        f"say --training.{theirs} true as well" if theirs in {"bf16", "fp16"} and own == "no" else "say it in one place"
    )
    return [f"{path}: mixed_precision is {theirs}, and the recipe says {own}; {say}, or set it to no in the file."]


def usable_processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device_problems(plan: Plan) -> list[str]:
    present = 0 if plan.use_cpu else torch.accelerator.device_count()
    most = PROCESSES_PER_PROCESSOR * usable_processors()
    if not present and plan.processes_here > most:
        told = f"{plan.processes_here} processes on this machine, which has {usable_processors()} processors"
        return [f"{told}; each holds the model and needs a processor of its own: give at most {most}."]
    if not present or plan.processes_here <= present:
        return []
    told = f"{plan.processes_here} processes on this machine, which has {present} devices"
    return [f"{told}; each needs one of its own: give at most {present}, or --training.use_cpu true."]
